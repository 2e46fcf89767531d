// Reading a lane's records back: for laggards, for readers, for a time, for Peek.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/base/registry.gen.h"
#include "broker/runtime/lane_actor.h"
#include "broker/runtime/stored_batch.h"

namespace spillway::runtime {

using storage::Err;
using storage::Position;

namespace {
constexpr size_t kReadBytes = 1 << 20;
}  // namespace

void LaneActor::StartRead(const queue::DiskRead& read) {
  const uint64_t id = next_read_++;
  reads_[id] = read.fetch;
  read.fetch->Begin();
  env_->store->Read(id_, read.from, kReadBytes,
                    [this, id, inbox = env_->inbox, alive = alive_](
                        Err err, std::vector<storage::Entry> entries, Position next) {
                      inbox->Push([this, id, err, entries = std::move(entries), next, alive] {
                        if (*alive) FinishRead(id, err, entries, next);
                      });
                    });
}

void LaneActor::ForgetFetch(const queue::Fetch* fetch) {
  std::erase_if(reads_, [&](const auto& read) { return read.second == fetch; });
}

void LaneActor::FinishRead(uint64_t id, Err err, const std::vector<storage::Entry>& entries,
                           Position next) {
  auto it = reads_.find(id);
  if (it == reads_.end()) return;
  queue::Fetch* fetch = it->second;
  reads_.erase(it);
  MarkDirty();
  if (err == Err::kTrimmed) return fetch->Fail();  // the head moved meanwhile
  if (err != Err::kOk) {
    fetch->Fail();
    return FailStore(err);
  }
  std::deque<queue::Batch> batches;
  for (const storage::Entry& entry : entries) {
    auto batch = DecodeBatch(entry);
    if (!batch) {
      fetch->Fail();
      batch.error().queue = name_;
      return Fail(batch.error());
    }
    batches.push_back(std::move(*batch));
  }
  fetch->Finish(std::move(batches), next);
}

pb::GapReason LaneActor::GapReasonFor(const OffsetRange& range) const {
  // Below the head it is what moved the head; above it only memory loses records.
  return range.first < core_.head() ? static_cast<pb::GapReason>(core_.gone_reason())
                                    : pb::GAP_REASON_LOST;
}

void LaneActor::ResolveStart(const pb::Start& start, const std::string& field,
                             std::function<void(Result<Offset>)> done) {
  const Offset head = core_.head();
  const Offset tail = core_.tail();
  switch (start.position_case()) {
    case pb::Start::POSITION_NOT_SET:
    case pb::Start::kEarliest:
      return done(head);
    case pb::Start::kLatest:
      return done(tail);
    case pb::Start::kLast:
      return done(tail - std::min(start.last(), tail - head));
    case pb::Start::kOffset:
      if (start.offset() < head || start.offset() > tail) {
        return done(Error{
            .kind = ErrorKind::kOutOfRange,
            .message = absl::StrCat("offset ", start.offset(), " is ",
                                    start.offset() < head ? "below the head, " : "above the tail, ",
                                    start.offset() < head ? head : tail),
            .queue = name_,
            .field = absl::StrCat(field, ".offset"),
            .limit = start.offset() < head ? head : tail,
            .actual = start.offset(),
            .head = head,
            .tail = tail});
      }
      return done(start.offset());
    case pb::Start::kTimeUnixMs:
      break;
  }
  const UnixMillis time = start.time_unix_ms();
  const queue::ResidentWindow& window = core_.window();
  const queue::Batch* resident = window.FindTime(time);
  const bool all_in_memory = window.begin() <= head;
  const bool found_exactly = resident != nullptr && resident->first > window.begin();
  if (all_in_memory || found_exactly || core_.index().marks().empty()) {
    return done(std::max(head, resident == nullptr ? tail : resident->first));
  }
  SearchTime(time, core_.index().FloorTime(time)->position, std::move(done));
}

void LaneActor::SearchTime(UnixMillis time, Position from,
                           std::function<void(Result<Offset>)> done) {
  env_->store->Read(
      id_, from, kReadBytes,
      [this, time, from, done = std::move(done), inbox = env_->inbox, alive = alive_](
          Err err, std::vector<storage::Entry> entries, Position next) {
        inbox->Push([this, time, from, done, err, entries = std::move(entries), next, alive] {
          if (!*alive) return;
          if (err != Err::kOk) return done(StoreError(err));
          for (const storage::Entry& entry : entries) {
            auto header = DecodeBatchHeader(entry.body.view());
            if (!header) return done(header.error());
            if (header->appended_at >= time) {
              return done(std::max(core_.head(), entry.base_offset));
            }
          }
          if (!entries.empty() && next != from) return SearchTime(time, next, done);
          // Not on disk: the first in memory, or what comes next.
          const queue::Batch* resident = core_.window().FindTime(time);
          done(resident == nullptr ? core_.tail() : resident->first);
        });
      });
}

void LaneActor::Peek(Offset from, uint32_t most,
                     std::function<void(Result<pb::PeekResponse>)> done) {
  auto reader = std::make_shared<queue::Reader>();
  reader->next = from;
  reader->stop = core_.visible_end();
  PeekFrom(std::move(reader), most, std::move(done));
}

void LaneActor::PeekFrom(std::shared_ptr<queue::Reader> reader, uint32_t most,
                         std::function<void(Result<pb::PeekResponse>)> done) {
  wire::Delivery delivery;
  queue::DiskRead read;
  std::vector<OffsetRange> gap;
  const Credit room{most, registry::limit::kMaxPeekBytes};
  const Credit any{most, std::numeric_limits<uint64_t>::max()};
  queue::Outcome outcome = queue::Outcome::kGap;
  while (outcome == queue::Outcome::kGap) {
    outcome = core_.Read(*reader, any, room, &delivery, &read, &gap);
  }
  if (outcome == queue::Outcome::kReadDisk && read.fetch != nullptr) {
    read.fetch->Begin();
    env_->store->Read(
        id_, read.from, kReadBytes,
        [this, reader, most, done = std::move(done), inbox = env_->inbox, alive = alive_](
            Err err, std::vector<storage::Entry> entries, Position next) {
          inbox->Push([this, reader, most, done, err, entries = std::move(entries), next, alive] {
            if (!*alive) return;
            if (err != Err::kOk) return done(StoreError(err));
            std::deque<queue::Batch> batches;
            for (const storage::Entry& entry : entries) {
              auto batch = DecodeBatch(entry);
              if (!batch) return done(batch.error());
              batches.push_back(std::move(*batch));
            }
            reader->fetch.Finish(std::move(batches), next);
            PeekFrom(reader, most, done);
          });
        });
    return;
  }
  pb::PeekResponse response;
  size_t field = 0;
  for (const wire::DeliveryRun& run : delivery.runs) {
    Offset offset = run.first;
    while (offset < run.first + run.count && field < delivery.fields.size()) {
      // `records` fields parse as a frame that holds nothing else.
      pb::PublishBatch batch;
      const std::string_view bytes = delivery.fields[field++].view();
      if (!batch.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return done(Error{.kind = ErrorKind::kCorrupt, .message = "a record does not decode"});
      }
      for (auto& record : *batch.mutable_records()) {
        pb::PlacedRecord* placed = response.add_records();
        placed->set_offset(offset++);
        placed->set_appended_at_unix_ms(run.appended_at);
        *placed->mutable_record() = std::move(record);
      }
    }
  }
  done(std::move(response));
}

}  // namespace spillway::runtime
