#include "broker/queue/model/driver_impl.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spillway::queue::model {

// ---- Readers ---------------------------------------------------------------

void Driver::OpenAReader() {
  if (readers_.size() >= 3) return;
  auto open = std::make_unique<OpenReader>();
  open->reader.next = random_.Below(lane().tail() + 1);
  if (Chance(40)) open->reader.stop = open->reader.next + random_.Below(40);
  if (Chance(30)) open->reader.stop_time = now_.unix_ms + random_.Below(200);
  open->audited = {open->reader.next, open->reader.stop, open->reader.stop_time};
  readers_.push_back(std::move(open));
}

bool Driver::ReadOnce(OpenReader& open, Credit room, Credit max) {
  wire::Delivery out;
  DiskRead read;
  std::vector<OffsetRange> gap;
  const Outcome outcome = lane().Read(open.reader, room, max, &out, &read, &gap);
  Note(static_cast<uint64_t>(outcome));
  Start(read);
  const std::vector<Seen> seen = Unpack(out);
  auditor_.Check((outcome == Outcome::kDelivered) == !seen.empty(), "outcome and delivery");
  auditor_.Check(out.cost.Within(room), "I12: read beyond the room");
  auditor_.Check(FitsFrame(out, seen, max), "more than fits in a frame");
  if (outcome == Outcome::kDelivered) auditor_.Read(open.audited, seen);
  if (outcome == Outcome::kGap) auditor_.ReaderGap(open.audited, gap);
  if (outcome == Outcome::kStopped) auditor_.ReaderStopped(open.audited);
  if (outcome == Outcome::kMissing) auditor_.Fail("a kept record cannot be read");
  if (outcome == Outcome::kEmpty) {
    auditor_.Check(open.audited.next >= lane().visible_end(), "I9: nothing read before the tail");
  }
  auditor_.Check(open.reader.next == open.audited.next, "I9: a reader is elsewhere");
  counts_.read_by_readers += seen.size();
  return outcome == Outcome::kDelivered || outcome == Outcome::kGap;
}

void Driver::ReadSome() {
  if (readers_.empty()) return;
  const size_t index = random_.Below(readers_.size());
  OpenReader& open = *readers_[index];
  ReadOnce(open, {random_.Below(30), random_.Below(2'000)}, {Between(1, 20), Between(1, 2'000)});
  if (!open.reader.stopped && !Chance(5)) return;
  std::erase_if(reads_, [&](const Read& read) { return read.fetch == &open.reader.fetch; });
  readers_.erase(readers_.begin() + static_cast<ptrdiff_t>(index));
}

// ---- Removing --------------------------------------------------------------

void Driver::Remove() {
  const Lane& core = lane();
  Offset head = 0;
  GoneReason reason = GoneReason::kRetention;
  switch (random_.Below(8)) {
    case 0:  // purge
      if (!Chance(20)) return;
      head = Between(core.head(), core.visible_end());
      reason = GoneReason::kPurged;
      break;
    case 1: {  // drop the oldest
      const uint64_t bytes = Chance(50) ? kUnlimited : random_.Below(4'000);
      const uint64_t messages = Between(10, 200);
      head = core.DropHead(bytes, messages);
      const bool fits = core.tail() - head <= messages && auditor_.BytesFrom(head) <= bytes;
      auditor_.Check(head == core.visible_end() || fits, "dropped too little");
      auditor_.Check(core.settled_through() <= head, "DropHead below what is settled");
      reason = GoneReason::kDropped;
      break;
    }
    case 2:
    case 3: {
      head = core.RetentionHead(now_);
      if (head <= core.head()) return;
      const uint64_t age = tuning_.retention_age_ms;
      const bool old = age > 0 && auditor_.appended_at(head - 1) + age <= now_.unix_ms;
      const bool beyond =
          tuning_.retention_bytes > 0 && auditor_.BytesFrom(head) >= tuning_.retention_bytes;
      auditor_.Check(tuning_.retention == Retention::kLimits && (old || beyond),
                     "removed what retention keeps");
      break;
    }
    default:
      head = core.SettledHead();
      if (tuning_.retention == Retention::kUntilSettled && !core.groups().empty()) {
        const Offset expected = auditor_.SettledHead(core.visible_end());
        // What is in flight below the head holds a cursor, and so the head, a while.
        const bool held = core.settled_through() == core.head();
        auditor_.Check(head == expected || (held && head < expected),
                       absl::StrCat("settled head ", head, " instead of ", expected));
      }
  }
  if (head <= core.head() || !Good()) return;
  const auto gaps = lane_->AdvanceHead(head, reason);
  auditor_.HeadAdvanced(head, gaps);
  counts_.removal_gaps += gaps.size();
  auto saved = std::make_shared<Saved>();
  saved->head = head;
  log_.Append({.saved = saved});
  Note(head);
}

}  // namespace spillway::queue::model
