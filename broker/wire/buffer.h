// Memory that holds the bytes of records.
//
// A frame is copied once, out of gRPC's buffers, into one Buffer; from there on
// the window, the store's write and every delivery share it by reference.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace spillway::wire {

// A reference to an immutable, counted block of bytes. Cheap to copy.
// Thread-safety: references may be copied and dropped on any thread; the bytes
// are written only before the first copy is shared.
class Buffer {
 public:
  Buffer() = default;
  // A block of `size` uninitialised bytes, to be filled through `mutable_data`.
  static Buffer Allocate(size_t size) {
    void* memory = ::operator new(sizeof(Block) + size);
    return Buffer(new (memory) Block{size});
  }
  static Buffer Copy(std::string_view bytes) {
    Buffer b = Allocate(bytes.size());
    if (!bytes.empty()) std::memcpy(b.mutable_data(), bytes.data(), bytes.size());
    return b;
  }

  Buffer(const Buffer& o) : block_(o.block_) { Ref(); }
  Buffer(Buffer&& o) noexcept : block_(std::exchange(o.block_, nullptr)) {}
  Buffer& operator=(Buffer o) noexcept {
    std::swap(block_, o.block_);
    return *this;
  }
  ~Buffer() { Unref(block_); }

  bool empty() const { return size() == 0; }
  size_t size() const { return block_ ? block_->size : 0; }
  const char* data() const { return block_ ? block_->bytes() : nullptr; }
  std::string_view view() const { return {data(), size()}; }
  // REQUIRES: this is the only reference.
  char* mutable_data() { return block_ ? block_->bytes() : nullptr; }

  // Gives up the reference as a raw pointer, to be given back to Adopt once;
  // for C callbacks that free memory.
  void* Release() { return std::exchange(block_, nullptr); }
  static Buffer Adopt(void* released) { return Buffer(static_cast<Block*>(released)); }

 private:
  struct Block {
    explicit Block(size_t n) : size(n) {}
    size_t size;
    std::atomic<uint32_t> refs{1};
    char* bytes() { return reinterpret_cast<char*>(this + 1); }
  };
  explicit Buffer(Block* block) : block_(block) {}
  void Ref() const {
    if (block_) block_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  static void Unref(Block* block) {
    if (block && block->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      block->~Block();
      ::operator delete(block);
    }
  }
  Block* block_ = nullptr;
};

// A part of a Buffer, keeping it alive.
struct Slice {
  Buffer buffer;
  uint32_t begin = 0;
  uint32_t length = 0;
  std::string_view view() const { return {buffer.data() + begin, length}; }
};

}  // namespace spillway::wire
