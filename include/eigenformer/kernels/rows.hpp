// Gathers rows of a table by number, as an embedding does, and adds gradients back to them.
#pragma once

#include <algorithm>
#include <concepts>
#include <iterator>
#include <span>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Row numbers: a vector, array or span of Token, Index or another signed type no wider than Index.
template <class Range>
concept RowIds = requires(const Range& ids) {
  requires std::signed_integral<typename decltype(std::span(ids))::value_type>;
  requires sizeof(typename decltype(std::span(ids))::value_type) <= sizeof(Index);
};

namespace detail {

/// Throws unless every id is a row of the table.
template <class Ids>
void check_ids(const char* where, const Ids& ids, Index table_rows) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    check(ids[i] >= 0 && ids[i] < table_rows, where, ": id ", ids[i], " at ", i, ", the table has ", table_rows,
          " rows");
}

}  // namespace detail

/// Writes y_i = row ids[i] of the table. table: [vocabulary x features], y: [ids x features]. Throws, before it writes,
/// if an id is not a row of the table or the shape of y does not fit.
template <class Scalar, RowIds Ids>
void gather_rows_forward(const ConstMatrixRef<Scalar>& table, const Ids& ids, MatrixRef<Scalar> y,
                         Threads* threads = nullptr) {
  const std::span numbers(ids);
  check_shape("gather_rows", "y", shape(y), {static_cast<Index>(numbers.size()), table.cols()});
  detail::check_ids("gather_rows", numbers, table.rows());
  const Index grain = std::max<Index>(1, 32768 / std::max<Index>(1, table.cols()));
  parallel_for(threads, y.rows(), grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) y.row(i) = table.row(numbers[static_cast<std::size_t>(i)]);
  });
}

/// Adds d_y_i to row ids[i] of d_table: the backward of gather_rows. It adds instead of overwriting, because a step
/// touches few rows: clearing the whole table each time would cost more than the sum.
/// d_y: [ids x features], d_table: [vocabulary x features]. Throws, before it writes, if an id is not a row of the
/// table or shapes do not fit.
template <class Scalar, RowIds Ids>
void scatter_add_rows(const Ids& ids, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_table,
                      Threads* threads = nullptr) {
  const std::span numbers(ids);
  check_shape("scatter_add_rows", "d_y", shape(d_y), {static_cast<Index>(numbers.size()), d_table.cols()});
  detail::check_ids("scatter_add_rows", numbers, d_table.rows());
  // Ids may repeat, so tasks divide the columns. One task then computes all sums of a column, in the order of the ids.
  const Index grain = std::max<Index>(64, 32768 / std::max<Index>(1, d_y.rows()));
  parallel_for(threads, d_y.cols(), grain, [&](Index begin, Index end) {
    for (Index i = 0; i < d_y.rows(); ++i)
      d_table.row(numbers[static_cast<std::size_t>(i)]).segment(begin, end - begin) +=
          d_y.row(i).segment(begin, end - begin);
  });
}

/// Returns rows `ids` of the table: [ids x features]. table: [vocabulary x features], any Eigen matrix or expression.
/// Throws if an id is not a row of the table.
template <class Derived, RowIds Ids>
Matrix<typename Derived::Scalar> gather_rows(const Eigen::MatrixBase<Derived>& table, const Ids& ids,
                                             Threads* threads = nullptr) {
  Matrix<typename Derived::Scalar> y(static_cast<Index>(std::size(ids)), table.cols());
  gather_rows_forward<typename Derived::Scalar>(table.derived(), ids, y, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
