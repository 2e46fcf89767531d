#include "broker/storage/high_water_mark.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "broker/storage/coding.h"
#include "broker/storage/crc32c.h"

namespace spillway::storage {
namespace {

// magic u32 | version u32 | generation u64 | sequence u64 | written u64 | boot u64 |
// manifest number u64 | manifest bytes u64 | manifest crc u32 | crc u32 of all before
constexpr uint32_t kMagic = 0x4d575053;  // "SPWM"
constexpr uint32_t kVersion = 1;
constexpr size_t kSlotBytes = 64;
constexpr uint64_t kSlotDistance = 4096;
using Slot = std::array<char, kSlotBytes>;

Slot Encode(const Mark& mark, uint64_t generation) {
  Slot slot{};
  char* p = slot.data();
  PutFixed(p, kMagic);
  PutFixed(p + 4, kVersion);
  PutFixed(p + 8, generation);
  PutFixed(p + 16, mark.sequence);
  PutFixed(p + 24, mark.written);
  PutFixed(p + 32, mark.boot);
  PutFixed(p + 40, mark.manifest_number);
  PutFixed(p + 48, mark.manifest_bytes);
  PutFixed(p + 56, mark.manifest_crc);
  PutFixed(p + 60, Crc32c({p, 60}));
  return slot;
}

struct Decoded {
  Mark mark;
  uint64_t generation = 0;
};
std::optional<Decoded> Decode(const Slot& slot) {
  const char* p = slot.data();
  if (GetFixed<uint32_t>(p) != kMagic || GetFixed<uint32_t>(p + 4) != kVersion ||
      GetFixed<uint32_t>(p + 60) != Crc32c({p, 60})) {
    return std::nullopt;
  }
  return Decoded{.mark = {.sequence = GetFixed<uint64_t>(p + 16),
                          .written = GetFixed<uint64_t>(p + 24),
                          .boot = GetFixed<uint64_t>(p + 32),
                          .manifest_number = GetFixed<uint64_t>(p + 40),
                          .manifest_bytes = GetFixed<uint64_t>(p + 48),
                          .manifest_crc = GetFixed<uint32_t>(p + 56)},
                 .generation = GetFixed<uint64_t>(p + 8)};
}

}  // namespace

std::unique_ptr<HighWaterMark> HighWaterMark::Create(const std::string& folder,
                                                     MonoNanos sync_interval) {
  std::string bytes(2 * kSlotDistance, '\0');
  for (uint64_t g : {0, 1}) {
    const Slot slot = Encode({}, g);
    std::copy(slot.begin(), slot.end(), bytes.begin() + static_cast<ptrdiff_t>(g * kSlotDistance));
  }
  if (!WriteWholeFile(folder, kFileName, bytes)) return nullptr;
  return Open(folder, sync_interval);
}

std::unique_ptr<HighWaterMark> HighWaterMark::Open(const std::string& folder,
                                                   MonoNanos sync_interval) {
  const std::string path = folder + "/" + kFileName;
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return nullptr;
  std::unique_ptr<HighWaterMark> m(new HighWaterMark(std::move(fd), sync_interval));
  bool found = false;
  for (uint64_t i : {0, 1}) {
    Slot slot;
    if (!ReadAt(m->fd_.get(), slot.data(), slot.size(), i * kSlotDistance)) continue;
    auto decoded = Decode(slot);
    if (!decoded || (found && decoded->generation < m->generation_)) continue;
    m->mark_ = decoded->mark;
    m->generation_ = decoded->generation;
    found = true;
  }
  if (!found) return nullptr;
  return m;
}

Mark HighWaterMark::mark() const {
  std::lock_guard lock(mu_);
  return mark_;
}

bool HighWaterMark::Written(uint64_t sequence) {
  std::lock_guard lock(mu_);
  mark_.written = std::max(mark_.written, sequence);
  return WriteLocked();
}

void HighWaterMark::Recovered(uint64_t sequence, uint64_t boot) {
  std::lock_guard lock(mu_);
  mark_.written = sequence;
  mark_.boot = boot;
}

bool HighWaterMark::Synced(uint64_t sequence) {
  std::lock_guard lock(mu_);
  mark_.sequence = std::max(mark_.sequence, sequence);
  mark_.written = std::max(mark_.written, sequence);
  return WriteLocked();
}

bool HighWaterMark::SetManifest(uint64_t number, uint64_t bytes, uint32_t crc) {
  {
    std::lock_guard lock(mu_);
    mark_.manifest_number = number;
    mark_.manifest_bytes = bytes;
    mark_.manifest_crc = crc;
    if (!WriteLocked()) return false;
    dirty_ = false;
  }
  // Its own, whoever else is at it: theirs may have begun before.
  return ::fdatasync(fd_.get()) == 0;
}

bool HighWaterMark::SyncIfDue(MonoNanos now) {
  {
    std::lock_guard lock(mu_);
    if (now - synced_at_ < sync_interval_) return true;
    synced_at_ = now;
  }
  return Sync();
}

bool HighWaterMark::Sync() {
  {
    std::lock_guard lock(mu_);
    // Before the sync: what is written while it runs may need another.
    if (!std::exchange(dirty_, false)) return true;
  }
  return ::fdatasync(fd_.get()) == 0;
}

bool HighWaterMark::WriteLocked() {
  const Slot slot = Encode(mark_, ++generation_);
  dirty_ = true;
  return WriteAt(fd_.get(), {slot.data(), slot.size()}, (generation_ % 2) * kSlotDistance);
}

uint64_t CurrentBoot() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  if (!std::getline(file, id) || id.empty()) return 0;
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (char c : id) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace spillway::storage
