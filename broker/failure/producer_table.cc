#include "broker/failure/producer_table.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/base/internal/endian.h"

namespace spillway::failure {

ProducerTable::Producer* ProducerTable::Find(std::string_view id) {
  auto it = producers_.find(absl::string_view(id.data(), id.size()));
  return it == producers_.end() ? nullptr : &it->second;
}

const ProducerTable::Producer* ProducerTable::Find(std::string_view id) const {
  auto it = producers_.find(absl::string_view(id.data(), id.size()));
  return it == producers_.end() ? nullptr : &it->second;
}

ProducerTable::Producer* ProducerTable::FindOrAdd(std::string_view id) {
  Producer* producer = Find(id);
  if (producer == nullptr) {
    if (producers_.size() >= kMaxProducers) {
      // Forget the one that has been away longest.
      auto oldest = producers_.end();
      uint64_t used = std::numeric_limits<uint64_t>::max();
      for (auto it = producers_.begin(); it != producers_.end(); ++it) {
        if (!it->second.connected && it->second.last_used < used) {
          used = it->second.last_used;
          oldest = it;
        }
      }
      if (oldest == producers_.end()) return nullptr;
      producers_.erase(oldest);
    }
    producer = &producers_[std::string(id)];
  }
  producer->last_used = ++use_;
  return producer;
}

std::optional<uint64_t> ProducerTable::Open(std::string_view id, uint64_t epoch,
                                            uint64_t resume_sequence) {
  Producer* producer = FindOrAdd(id);
  if (producer == nullptr) return std::nullopt;
  producer->epoch = std::max(producer->epoch, epoch);
  producer->next_sequence = std::max(producer->next_sequence, resume_sequence);
  producer->connected = true;
  return producer->next_sequence;
}

void ProducerTable::Disconnect(std::string_view id, uint64_t epoch) {
  Producer* producer = Find(id);
  if (producer != nullptr && producer->epoch == epoch) producer->connected = false;
}

ProducerTable::Judgement ProducerTable::Judge(std::string_view id, uint64_t epoch,
                                              uint64_t first_sequence, uint64_t count) const {
  const Producer* producer = Find(id);
  if (producer == nullptr || producer->epoch != epoch)
    return {.verdict = Verdict::kFenced, .expected = 0, .runs = {}};
  const uint64_t next = producer->next_sequence;
  if (first_sequence == next) return {.verdict = Verdict::kNew, .expected = next, .runs = {}};
  if (first_sequence > next) return {.verdict = Verdict::kGap, .expected = next, .runs = {}};
  if (first_sequence + count > next) {
    return {.verdict = Verdict::kStraddles, .expected = next, .runs = {}};
  }
  Judgement out{.verdict = Verdict::kDuplicate, .expected = next, .runs = {}};
  const auto& runs = producer->runs;
  auto it =
      std::upper_bound(runs.begin(), runs.end(), first_sequence,
                       [](uint64_t s, const SequenceRun& run) { return s < run.first_sequence; });
  if (it != runs.begin() && std::prev(it)->first_sequence + std::prev(it)->count > first_sequence) {
    --it;
  }
  uint64_t at = first_sequence;
  const uint64_t end = first_sequence + count;
  for (; it != runs.end() && it->first_sequence < end; ++it) {
    if (it->first_sequence > at) {
      out.runs.push_back({at, it->first_sequence - at, 0, false});
      at = it->first_sequence;
    }
    const uint64_t stop = std::min(end, it->first_sequence + it->count);
    const Offset offset = it->known ? it->first_offset + (at - it->first_sequence) : 0;
    out.runs.push_back({at, stop - at, offset, it->known});
    at = stop;
  }
  if (at < end) out.runs.push_back({at, end - at, 0, false});
  return out;
}

void ProducerTable::Add(Producer& producer, const SequenceRun& run) {
  producer.next_sequence = std::max(producer.next_sequence, run.first_sequence + run.count);
  if (!producer.runs.empty()) {
    SequenceRun& last = producer.runs.back();
    const bool follows = last.first_sequence + last.count == run.first_sequence;
    if (follows && last.known == run.known &&
        (!run.known || last.first_offset + last.count == run.first_offset)) {
      last.count += run.count;
      return;
    }
  }
  producer.runs.push_back(run);
  if (producer.runs.size() > kMaxRuns) producer.runs.pop_front();
}

void ProducerTable::Accepted(std::string_view id, uint64_t first_sequence, uint64_t count,
                             Offset first_offset) {
  Producer* producer = Find(id);
  if (producer == nullptr) return;
  producer->last_used = ++use_;
  Add(*producer, {first_sequence, count, first_offset, true});
}

void ProducerTable::Refused(std::string_view id, uint64_t first_sequence, uint64_t count) {
  if (Producer* producer = Find(id)) Add(*producer, {first_sequence, count, 0, false});
}

void ProducerTable::Replayed(std::string_view id, uint64_t epoch, uint64_t first_sequence,
                             uint64_t count, Offset first_offset) {
  Producer* producer = FindOrAdd(id);
  if (producer == nullptr) return;
  producer->epoch = std::max(producer->epoch, epoch);
  // Refused sequences between two batches left no trace in the log.
  if (first_sequence < producer->next_sequence) return;
  Add(*producer, {first_sequence, count, first_offset, true});
}

// ---- Encoding: version, count, then each producer; little endian. ------------

namespace {

namespace le = absl::little_endian;
constexpr uint8_t kVersion = 1;

void Put64(std::string* out, uint64_t value) {
  char bytes[8];
  le::Store64(bytes, value);
  out->append(bytes, sizeof bytes);
}

bool Get64(std::string_view* in, uint64_t* value) {
  if (in->size() < 8) return false;
  *value = le::Load64(in->data());
  in->remove_prefix(8);
  return true;
}

}  // namespace

std::string ProducerTable::Encode() const {
  std::string out(1, static_cast<char>(kVersion));
  Put64(&out, producers_.size());
  for (const auto& [id, producer] : producers_) {
    Put64(&out, id.size());
    out.append(id);
    Put64(&out, producer.epoch);
    Put64(&out, producer.next_sequence);
    Put64(&out, producer.last_used);
    Put64(&out, producer.runs.size());
    for (const SequenceRun& run : producer.runs) {
      Put64(&out, run.first_sequence);
      Put64(&out, run.count);
      Put64(&out, run.known ? run.first_offset : std::numeric_limits<uint64_t>::max());
    }
  }
  return out;
}

bool ProducerTable::Decode(std::string_view in) {
  producers_.clear();
  use_ = 0;
  if (in.empty()) return true;
  if (static_cast<uint8_t>(in[0]) != kVersion) return false;
  in.remove_prefix(1);
  uint64_t count = 0;
  if (!Get64(&in, &count) || count > kMaxProducers) return false;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t length = 0;
    if (!Get64(&in, &length) || length > 255 || in.size() < length) return false;
    Producer& producer = producers_[std::string(in.substr(0, length))];
    in.remove_prefix(length);
    uint64_t runs = 0;
    if (!Get64(&in, &producer.epoch) || !Get64(&in, &producer.next_sequence) ||
        !Get64(&in, &producer.last_used) || !Get64(&in, &runs) || runs > kMaxRuns) {
      return false;
    }
    use_ = std::max(use_, producer.last_used);
    for (uint64_t r = 0; r < runs; ++r) {
      SequenceRun run;
      if (!Get64(&in, &run.first_sequence) || !Get64(&in, &run.count) ||
          !Get64(&in, &run.first_offset)) {
        return false;
      }
      run.known = run.first_offset != std::numeric_limits<uint64_t>::max();
      if (!run.known) run.first_offset = 0;
      producer.runs.push_back(run);
    }
  }
  return in.empty();
}

}  // namespace spillway::failure
