// Rows taken from a table by number, as an embedding does, and added back to it.
#pragma once

#include <algorithm>
#include <concepts>
#include <iterator>
#include <span>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Numbers of rows: a vector, array or span of Token, Index or another signed type that is no wider.
template <class Range>
concept RowIds = requires(const Range& ids) {
  requires std::signed_integral<typename decltype(std::span(ids))::value_type>;
  requires sizeof(typename decltype(std::span(ids))::value_type) <= sizeof(Index);
};

namespace detail {

/// Throws unless every id is a row's number, before anything is written.
template <class Ids>
void check_ids(const char* where, const Ids& ids, Index table_rows) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    check(ids[i] >= 0 && ids[i] < table_rows, where, ": id ", ids[i], " at ", i, ", the table has ", table_rows,
          " rows");
}

}  // namespace detail

/// y_i = table row ids[i]. table: [vocabulary x features], y: [ids x features].
/// Throws, before it writes, if an id is not below the number of the table's rows.
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

/// d_table row ids[i] += d_y_i: what gather_rows does to gradients. It adds, because a step touches few of a table's
/// rows: setting all of it to zero each time would cost more than the sum.
/// d_y: [ids x features], d_table: [vocabulary x features]. Throws, before it writes, if an id is not below the number
/// of the table's rows.
template <class Scalar, RowIds Ids>
void scatter_add_rows(const Ids& ids, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_table,
                      Threads* threads = nullptr) {
  const std::span numbers(ids);
  check_shape("scatter_add_rows", "d_y", shape(d_y), {static_cast<Index>(numbers.size()), d_table.cols()});
  detail::check_ids("scatter_add_rows", numbers, d_table.rows());
  // An id may come twice, so the work is cut by columns: each entry's sum has one task and the order of the ids.
  const Index grain = std::max<Index>(64, 32768 / std::max<Index>(1, d_y.rows()));
  parallel_for(threads, d_y.cols(), grain, [&](Index begin, Index end) {
    for (Index i = 0; i < d_y.rows(); ++i)
      d_table.row(numbers[static_cast<std::size_t>(i)]).segment(begin, end - begin) +=
          d_y.row(i).segment(begin, end - begin);
  });
}

/// The table's rows of these numbers: [ids x features]. table: any Eigen matrix or expression.
template <class Derived, RowIds Ids>
Matrix<typename Derived::Scalar> gather_rows(const Eigen::MatrixBase<Derived>& table, const Ids& ids,
                                             Threads* threads = nullptr) {
  Matrix<typename Derived::Scalar> y(static_cast<Index>(std::size(ids)), table.cols());
  gather_rows_forward<typename Derived::Scalar>(table.derived(), ids, y, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
