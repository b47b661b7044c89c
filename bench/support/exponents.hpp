// Fits time = c n^a d^b to measured times, by least squares on a log-log scale.
#pragma once

#include <benchmark/benchmark.h>

#include <Eigen/Dense>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace eigenformer::bench {

/// Console reporter that also stores the time of every run with n and d in its name, for example
/// "attention_forward/n:512/d:64/causal:0". Runs with a stride other than d are left out.
class ExponentReporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      const std::string name = run.benchmark_name();
      const std::size_t n = name.find("/n:"), d = name.find("/d:"), causal = name.find("/causal:");
      if (n == std::string::npos || d == std::string::npos || run.iterations == 0) continue;
      const std::size_t stride = name.find("/stride:");
      if (stride != std::string::npos && std::stod(name.substr(stride + 8)) != std::stod(name.substr(d + 3))) continue;
      const std::string series =
          name.substr(0, n) + (causal != std::string::npos && name[causal + 8] == '1' ? ", causal" : "");
      series_[series].push_back({std::log(std::stod(name.substr(n + 3))), std::log(std::stod(name.substr(d + 3))),
                                 std::log(run.GetAdjustedRealTime())});
    }
  }

  void print_exponents() const {
    std::printf("\ntime = c * n^a * d^b, fitted on a log-log scale (the paper's O(n^2 d) is a = 2, b = 1):\n");
    for (const auto& [series, points] : series_) {
      if (points.size() < 3) continue;
      Eigen::MatrixXd logs(points.size(), 3);
      Eigen::VectorXd times(points.size());
      for (std::size_t i = 0; i < points.size(); ++i) {
        const auto row = static_cast<Eigen::Index>(i);
        logs.row(row) << 1, points[i].n, points[i].d;
        times[row] = points[i].time;
      }
      const Eigen::ColPivHouseholderQR<Eigen::MatrixXd> factors(logs);
      if (factors.rank() < 3) continue;  // n or d does not vary
      const Eigen::Vector3d fit = factors.solve(times);
      const double residual = std::sqrt((logs * fit - times).squaredNorm() / static_cast<double>(points.size()));
      std::printf("  %-32s a = %.2f  b = %.2f  (%zu points, typically off by %.0f %%)\n", series.c_str(), fit[1],
                  fit[2], points.size(), 100 * (std::exp(residual) - 1));
    }
  }

 private:
  struct Point {
    double n, d, time;
  };
  std::map<std::string, std::vector<Point>> series_;
};

}  // namespace eigenformer::bench
