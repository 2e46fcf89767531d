// What a producer has taken over and the broker has not yet confirmed, and the
// credit that bounds it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients/cpp/spillway/credit.h"
#include "clients/cpp/spillway/error.h"
#include "clients/cpp/spillway/internal/wire.h"
#include "clients/cpp/spillway/publish.h"

namespace spillway::client::internal {

// Records that go out as one Publish frame.
struct Batch {
  // Assigned when the batch is first sent; 0 before. Kept when it is sent again.
  uint64_t first_sequence = 0;
  uint32_t count = 0;
  Credit cost;
  // While it is open to more records, `building`; then `fields`.
  bool open = false;
  std::string building;
  std::shared_ptr<std::vector<uint32_t>> building_ends;
  grpc::Slice fields;
  // Ends of the records' fields; those of this batch are [base, base + count),
  // relative to `origin`.
  std::shared_ptr<const std::vector<uint32_t>> ends;
  uint32_t base = 0;
  uint32_t origin = 0;
  // One for each record, or one for all.
  std::vector<PublishCallback> each;
  std::shared_ptr<BatchCallback> all;
  // Records without an answer; which ones have one, once it is not all or none.
  uint32_t unanswered = 0;
  std::vector<bool> answered;

  uint64_t frame_bytes() const { return open ? building.size() : fields.size(); }
  uint32_t BodyBytes(uint32_t index) const;
  // How many records from the first on fit into `room`, in credit and in frame bytes.
  uint32_t FitWithin(const Credit& room, uint64_t max_frame_bytes, uint32_t max_records) const;
};

// A callback with its answer, to be called without a lock.
struct Answer {
  PublishCallback one;
  std::shared_ptr<BatchCallback> all;
  uint32_t first = 0;
  uint32_t count = 0;
  Result<Published> result;

  void Call() const;
};

// Credit, sequences and the unconfirmed of one producer, over any number of
// streams. Pure: no I/O, no clock. Not thread-safe.
//
// Invariants, in every unit: sent + returned ≤ limit. What is admitted by Fits()
// keeps sent + returned + reserved ≤ limit within an epoch; after a reconnect
// reserved may exceed it, and what does waits. Batches keep their boundaries when
// they are sent again.
class PublishLog {
 public:
  // What the broker is told of those who wait.
  struct Demand {
    Credit waiting;
    uint64_t next_record_bytes = 0;
    // What was given back in this epoch, in total.
    Credit returned;
  };

  void SetFrameLimits(uint64_t max_batch_bytes, uint32_t max_batch_records);

  // Whether this much more may be taken over now.
  bool Fits(const Credit& cost) const;
  // What may be taken over now.
  Credit available() const;
  // Nothing is on its way to the broker, so no confirmation will bring credit.
  bool idle() const { return unconfirmed_.empty() && ready_.empty(); }
  bool has_ready() const { return !ready_.empty(); }
  // Whether the first in line may still get more records.
  bool only_open() const { return ready_.size() == 1 && ready_.front().open; }

  // Takes one message over, into the open batch if it has room.
  void Append(const Message& message, PublishCallback done);
  // Takes records [first, first + count) of a batch over, as frames of their own.
  void Append(const EncodedBatch& batch, uint32_t first, uint32_t count,
              std::shared_ptr<BatchCallback> done);
  // How many records of `batch` from `first` on fit into the credit.
  uint32_t FitCount(const EncodedBatch& batch, uint32_t first) const;
  static Credit Cost(const EncodedBatch& batch, uint32_t first, uint32_t count);

  // The next frame within the credit; nothing if none is ready or fits.
  std::optional<grpc::ByteBuffer> Next();

  // The lowest sequence that may still be sent; 0 before the first stream.
  uint64_t resume_sequence() const;
  // A stream has opened. Fails if the broker's numbering excludes this log.
  Status Opened(uint64_t epoch, uint64_t next_sequence);
  // The stream is gone: what is unconfirmed goes out again, first.
  void Broken();
  // False if the total falls.
  bool Grant(const Credit& limit);

  void Confirm(uint64_t first_sequence, uint64_t count, const Published& first_record,
               std::vector<Answer>* answers);
  void Refuse(uint64_t first_sequence, uint64_t count, const Error& error,
              std::vector<Answer>* answers);
  // Answers everything with `error`.
  void FailAll(const Error& error, std::vector<Answer>* answers);

  // The Demand to send now, if it differs from what the broker knows. `waiting`
  // and `next_record_bytes` are those of callers that have not been admitted. If
  // `others_wait` for credit (FAIR_SHARE), it gives back what cannot be used now.
  std::optional<Demand> NextDemand(const Credit& waiting, uint64_t next_record_bytes,
                                   bool others_wait = false);

  uint64_t epoch() const { return epoch_; }
  const Credit& sent() const { return sent_; }
  const Credit& limit() const { return limit_; }
  uint64_t next_sequence() const { return next_sequence_; }
  // Records taken over and not answered.
  uint64_t unanswered() const { return unanswered_; }

 private:
  // What may have been sent in this epoch.
  Credit allowed() const { return limit_ - returned_; }
  // The unspent credit, unless the record at the front can be sent with it.
  Credit Unusable(bool stuck, uint64_t next_record_bytes) const;
  void Seal(Batch* batch);
  // Splits the first `count` records off the front of `ready_`.
  void SplitFront(uint32_t count);
  void Resolve(uint64_t first_sequence, uint64_t count, const Result<Published>& first_record,
               std::vector<Answer>* answers);
  static void Answered(Batch* batch, uint32_t first, uint32_t count,
                       const Result<Published>& first_record, std::vector<Answer>* answers);

  uint64_t max_frame_bytes_;
  uint32_t max_records_;
  uint64_t epoch_ = 0;
  Credit limit_;
  Credit returned_;
  Credit sent_;
  Credit reserved_;  // of ready_
  uint64_t next_sequence_ = 1;
  uint64_t unanswered_ = 0;
  std::deque<Batch> ready_;        // to be sent; those with sequences first
  std::deque<Batch> unconfirmed_;  // sent in this epoch, in order of sequence
  // The Demand that the broker knows: the cumulative total that would meet it.
  Credit stated_total_;
  uint64_t stated_next_bytes_ = 0;

 public:
  PublishLog();
};

}  // namespace spillway::client::internal
