// Products of blocks by AMX. Included by core/matrix_unit.hpp.
#pragma once

#include "eigenformer/core/matrix_unit_product.hpp"

#if defined(EIGENFORMER_AMX_BFLOAT16) || defined(EIGENFORMER_AMX_INT8)

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// What AMX products of all types share.
struct AmxTiles {
  /// Returns whether Linux lets this process use AMX. The first call asks for it.
  static bool is_permitted() {
    static const bool permitted = [] {
      constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
      return syscall(SYS_arch_prctl, request, tile_data) == 0;
    }();
    return permitted;
  }

  /// Configures the calling thread's tiles as 16 rows of 64 bytes. The destructor restores the previous configuration,
  /// for example an outer session's. It does not restore the contents of tiles.
  class Session {
   public:
    Session() {
      static constexpr Configuration sixteen_rows{
          .palette = 1,
          .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
          .rows = {16, 16, 16, 16, 16, 16, 16, 16},
      };
      forget_memory();
      _tile_storeconfig(&before_);
      forget_memory();
      _tile_loadconfig(&sixteen_rows);
    }
    ~Session() {
      forget_memory();
      if (before_.palette == 0)
        _tile_release();
      else
        _tile_loadconfig(&before_);
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

   private:
    struct alignas(64) Configuration {
      std::uint8_t palette = 0, start_row = 0, reserved[14] = {};  // palette 0: no configuration
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    };
    static_assert(sizeof(Configuration) == 64);
    /// The intrinsics of GCC 12 tell the compiler that they access only 8 bytes.
    void forget_memory() { asm volatile("" : : "r"(&before_) : "memory"); }

    Configuration before_;
  };
};

/// Multiplies with tdpbf16ps or tdpbssd. Tiles 0 to 3 hold sums, tiles 4 and 5 blocks of A, tiles 6 and 7 blocks of B.
template <UnitValue V>
struct Amx : AmxTiles {
  using Value = V;

  template <int rows, int columns>
  EIGEN_ALWAYS_INLINE static void multiply(const Product<Value>& product) {
    // The tile intrinsics of GCC 12 do not tell the compiler that they access memory.
    asm volatile("" : : : "memory");
    SumOf<Value>* const c = product.c.data;
    const Index c_rows = product.c.row_block_stride, c_columns = product.c.column_block_stride;
    const Index c_stride = product.c.row_stride * static_cast<Index>(sizeof(*c));
    if (product.accumulates) {
      _tile_loadd(0, c, c_stride);
      if constexpr (columns == 2) _tile_loadd(1, c + c_columns, c_stride);
      if constexpr (rows == 2) _tile_loadd(2, c + c_rows, c_stride);
      if constexpr (rows == 2 && columns == 2) _tile_loadd(3, c + c_rows + c_columns, c_stride);
    } else {
      _tile_zero(0);
      if constexpr (columns == 2) _tile_zero(1);
      if constexpr (rows == 2) _tile_zero(2);
      if constexpr (rows == 2 && columns == 2) _tile_zero(3);
    }
    const Value *a = product.a.data, *b = product.b.data;
    const Index a_stride = product.a.row_stride * static_cast<Index>(sizeof(Value));
    for (Index step = 0; step < product.steps; ++step, a += product.a.step_stride, b += step_size<Value>) {
      _tile_loadd(6, b, 64);
      _tile_loadd(4, a, a_stride);
      multiply_tiles<0>();
      if constexpr (columns == 2) {
        _tile_loadd(7, b + product.b.block_stride, 64);
        multiply_tiles<1>();
      }
      if constexpr (rows == 2) {
        _tile_loadd(5, a + product.a.block_stride, a_stride);
        multiply_tiles<2>();
        if constexpr (columns == 2) multiply_tiles<3>();
      }
    }
    _tile_stored(0, c, c_stride);
    if constexpr (columns == 2) _tile_stored(1, c + c_columns, c_stride);
    if constexpr (rows == 2) _tile_stored(2, c + c_rows, c_stride);
    if constexpr (rows == 2 && columns == 2) _tile_stored(3, c + c_rows + c_columns, c_stride);
    asm volatile("" : : : "memory");
  }

 private:
  /// Adds a product to a tile of sums. The intrinsics need literal numbers.
  template <int sums>
  EIGEN_ALWAYS_INLINE static void multiply_tiles() {
    if constexpr (std::is_same_v<Value, std::int8_t>) {
      if constexpr (sums == 0) _tile_dpbssd(0, 4, 6);
      if constexpr (sums == 1) _tile_dpbssd(1, 4, 7);
      if constexpr (sums == 2) _tile_dpbssd(2, 5, 6);
      if constexpr (sums == 3) _tile_dpbssd(3, 5, 7);
    } else {
      if constexpr (sums == 0) _tile_dpbf16ps(0, 4, 6);
      if constexpr (sums == 1) _tile_dpbf16ps(1, 4, 7);
      if constexpr (sums == 2) _tile_dpbf16ps(2, 5, 6);
      if constexpr (sums == 3) _tile_dpbf16ps(3, 5, 7);
    }
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit

#endif
