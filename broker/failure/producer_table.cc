#include "broker/failure/producer_table.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "absl/base/internal/endian.h"

namespace spillway::failure {
namespace {

absl::string_view Key(std::string_view id) { return {id.data(), id.size()}; }

}  // namespace

ProducerTable::Producer* ProducerTable::Find(std::string_view id) {
  auto it = index_.find(Key(id));
  return it == index_.end() ? nullptr : &*it->second;
}

const ProducerTable::Producer* ProducerTable::Find(std::string_view id) const {
  auto it = index_.find(Key(id));
  return it == index_.end() ? nullptr : &*it->second;
}

ProducerTable::List::iterator ProducerTable::FindOrAdd(std::string_view id) {
  auto found = index_.find(Key(id));
  if (found != index_.end()) return found->second;
  if (index_.size() >= kMaxProducers) {
    if (away_.empty()) return away_.end();
    runs_ -= away_.front().runs.size();
    index_.erase(away_.front().id);
    away_.pop_front();
  }
  away_.push_back({.id = std::string(id), .runs = {}});
  index_.emplace(std::string(id), std::prev(away_.end()));
  return std::prev(away_.end());
}

std::optional<uint64_t> ProducerTable::Open(std::string_view id, uint64_t epoch,
                                            uint64_t resume_sequence) {
  auto it = FindOrAdd(id);
  if (it == away_.end()) return std::nullopt;
  Producer& producer = *it;
  if (!producer.connected) connected_.splice(connected_.end(), away_, it);
  producer.connected = true;
  if (epoch < producer.epoch) return producer.next_sequence;
  producer.epoch = epoch;
  // What is settled for the producer is never asked for again.
  while (!producer.runs.empty() &&
         producer.runs.front().first_sequence + producer.runs.front().count <= resume_sequence) {
    producer.runs.pop_front();
    --runs_;
  }
  producer.known_from = std::max(producer.known_from, resume_sequence);
  producer.next_sequence = std::max(producer.next_sequence, resume_sequence);
  return producer.next_sequence;
}

void ProducerTable::Disconnect(std::string_view id, uint64_t epoch) {
  auto found = index_.find(Key(id));
  if (found == index_.end()) return;
  Producer& producer = *found->second;
  if (producer.epoch != epoch || !producer.connected) return;
  producer.connected = false;
  away_.splice(away_.end(), connected_, found->second);
}

ProducerTable::Judgement ProducerTable::Judge(std::string_view id, uint64_t epoch,
                                              uint64_t first_sequence, uint64_t count) const {
  assert(count > 0);
  const Producer* producer = Find(id);
  Judgement out;
  if (producer == nullptr || producer->epoch != epoch) {
    out.verdict = Verdict::kFenced;
    return out;
  }
  const uint64_t next = producer->next_sequence;
  out.expected = next;
  if (first_sequence == next) return out;
  if (first_sequence > next || first_sequence == 0) {
    out.verdict = Verdict::kGap;
    return out;
  }
  if (count > next - first_sequence) {
    out.verdict = Verdict::kStraddles;
    return out;
  }
  out.verdict = Verdict::kDuplicate;
  const uint64_t end = first_sequence + count;
  uint64_t at = first_sequence;
  // Says up to `stop` what is in no run.
  const auto fill = [&](uint64_t stop) {
    const uint64_t forgotten = std::min(stop, producer->known_from);
    if (at < forgotten) {
      out.runs.push_back({at, forgotten - at, 0, false, false});
      at = forgotten;
    }
    if (at < stop) out.runs.push_back({at, stop - at, 0, false, true});
    at = std::max(at, stop);
  };
  auto it = std::partition_point(
      producer->runs.begin(), producer->runs.end(),
      [&](const SequenceRun& run) { return run.first_sequence + run.count <= first_sequence; });
  for (; it != producer->runs.end() && it->first_sequence < end; ++it) {
    if (it->first_sequence > at) fill(it->first_sequence);
    const uint64_t stop = std::min(end, it->first_sequence + it->count);
    out.runs.push_back({at, stop - at, it->first_offset + (at - it->first_sequence)});
    at = stop;
  }
  if (at < end) fill(end);
  return out;
}

void ProducerTable::Add(Producer& producer, const SequenceRun& run) {
  producer.next_sequence = run.first_sequence + run.count;
  if (!producer.runs.empty()) {
    SequenceRun& last = producer.runs.back();
    if (last.first_sequence + last.count == run.first_sequence &&
        last.first_offset + last.count == run.first_offset) {
      last.count += run.count;
      return;
    }
  }
  producer.runs.push_back(run);
  ++runs_;
  if (producer.runs.size() > kMaxRuns) Forget(producer, 1);
  ForgetBeyondTheBound();
}

bool ProducerTable::WasRefused(const Producer& producer) {
  uint64_t at = producer.known_from;
  for (const SequenceRun& run : producer.runs) {
    if (run.first_sequence > at) return true;
    at = std::max(at, run.first_sequence + run.count);
  }
  return at < producer.next_sequence;
}

void ProducerTable::Forget(Producer& producer, size_t count) {
  const auto end = producer.runs.begin() + static_cast<ptrdiff_t>(count);
  const SequenceRun& last = *std::prev(end);
  producer.known_from = std::max(producer.known_from, last.first_sequence + last.count);
  producer.runs.erase(producer.runs.begin(), end);
  runs_ -= count;
}

// To half of the bound, and not again before half of it has come, so that each run that
// is added pays for a part of it.
void ProducerTable::ForgetBeyondTheBound() {
  const size_t bound = std::max(kMaxRunsOfAll, kMaxRunsOfEach * size());
  if (runs_ <= bound || runs_ < forget_at_) return;
  const size_t most = bound / 2 / size();
  for (List* list : {&away_, &connected_}) {
    for (Producer& producer : *list) {
      if (producer.runs.size() <= most || WasRefused(producer)) continue;
      Forget(producer, producer.runs.size() - most);
    }
  }
  forget_at_ = runs_ + bound / 2;
}

void ProducerTable::Accepted(std::string_view id, uint64_t first_sequence, uint64_t count,
                             Offset first_offset) {
  Producer* producer = Find(id);
  if (producer == nullptr) return;
  assert(first_sequence == producer->next_sequence);
  Add(*producer, {first_sequence, count, first_offset});
}

void ProducerTable::Refused(std::string_view id, uint64_t first_sequence, uint64_t count) {
  Producer* producer = Find(id);
  if (producer == nullptr) return;
  assert(first_sequence == producer->next_sequence);
  producer->next_sequence = first_sequence + count;
}

void ProducerTable::Replayed(std::string_view id, uint64_t epoch, uint64_t first_sequence,
                             uint64_t count, Offset first_offset) {
  const bool fresh = Find(id) == nullptr;
  auto it = FindOrAdd(id);
  if (it == away_.end()) return;
  Producer& producer = *it;
  if (!producer.connected) away_.splice(away_.end(), away_, it);
  producer.epoch = std::max(producer.epoch, epoch);
  // The snapshot had it already.
  if (first_sequence < producer.next_sequence) return;
  // A producer that begins late was forgotten before the snapshot. One that leaves
  // out sequences was refused them, which leaves no other trace in the log.
  if (fresh) producer.known_from = first_sequence;
  Add(producer, {first_sequence, count, first_offset});
}

// ---- Encoding. Numbers have 8 bytes, little endian.
//
//   version   1 byte (1)
//   producers their number, then each, the one that is away longest first:
//     id              length, bytes
//     epoch, next_sequence, known_from
//     runs            their number, then each: first_sequence, count, first_offset

namespace {

namespace le = absl::little_endian;
constexpr char kVersion = 1;

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
  std::string out(1, kVersion);
  Put64(&out, index_.size());
  for (const List* list : {&away_, &connected_}) {
    for (const Producer& producer : *list) {
      Put64(&out, producer.id.size());
      out.append(producer.id);
      Put64(&out, producer.epoch);
      Put64(&out, producer.next_sequence);
      Put64(&out, producer.known_from);
      Put64(&out, producer.runs.size());
      for (const SequenceRun& run : producer.runs) {
        Put64(&out, run.first_sequence);
        Put64(&out, run.count);
        Put64(&out, run.first_offset);
      }
    }
  }
  return out;
}

bool ProducerTable::DecodeProducer(std::string_view* in, Producer* producer) {
  uint64_t length = 0;
  uint64_t runs = 0;
  if (!Get64(in, &length) || length > kMaxIdBytes || in->size() < length) return false;
  producer->id = in->substr(0, length);
  in->remove_prefix(length);
  if (!Get64(in, &producer->epoch) || !Get64(in, &producer->next_sequence) ||
      !Get64(in, &producer->known_from) || !Get64(in, &runs) || runs > kMaxRuns ||
      producer->next_sequence == 0 || producer->known_from > producer->next_sequence) {
    return false;
  }
  uint64_t at = 1;
  for (uint64_t r = 0; r < runs; ++r) {
    SequenceRun run;
    if (!Get64(in, &run.first_sequence) || !Get64(in, &run.count) ||
        !Get64(in, &run.first_offset)) {
      return false;
    }
    if (run.first_sequence < at || run.first_sequence > producer->next_sequence || run.count == 0 ||
        run.count > producer->next_sequence - run.first_sequence ||
        run.count > std::numeric_limits<uint64_t>::max() - run.first_offset) {
      return false;
    }
    at = run.first_sequence + run.count;
    producer->runs.push_back(run);
  }
  return true;
}

bool ProducerTable::Decode(std::string_view in) {
  index_.clear();
  away_.clear();
  connected_.clear();
  runs_ = 0;
  forget_at_ = 0;
  if (in.empty()) return true;
  uint64_t count = 0;
  bool ok = in[0] == kVersion;
  in.remove_prefix(1);
  ok = ok && Get64(&in, &count) && count <= kMaxProducers;
  for (uint64_t i = 0; ok && i < count; ++i) {
    away_.emplace_back();
    ok = DecodeProducer(&in, &away_.back()) &&
         index_.emplace(away_.back().id, std::prev(away_.end())).second;
    runs_ += away_.back().runs.size();
  }
  if (ok && in.empty()) return true;
  index_.clear();
  away_.clear();
  runs_ = 0;
  return false;
}

}  // namespace spillway::failure
