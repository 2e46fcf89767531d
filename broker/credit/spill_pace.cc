#include "broker/credit/spill_pace.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace spillway::credit {
namespace {

constexpr MonoNanos kStretch = 5'000 * kNanosPerMilli;
constexpr MonoNanos kAdjustEvery = 10 * kNanosPerMilli;
// In a second in which nothing is late; and once where every append of 10 ms is.
constexpr double kDoublingsPerSecond = 0.5;
constexpr double kHalvings = 6;
// Growth counts no more than this of the time since it was last looked at.
constexpr MonoNanos kMostGrowthTime = 1'000 * kNanosPerMilli;
// So much may go at once, so that waiting is worth a wake-up.
constexpr MonoNanos kBurst = 2 * kNanosPerMilli;

}  // namespace

void SpillPace::Committed(const void* queue, MonoNanos latency, MonoNanos now) {
  if (now - stretch_at_ >= kStretch) {
    least_[1] = now - stretch_at_ >= 2 * kStretch ? 0 : least_[0];
    least_[0] = 0;
    stretch_at_ = now;
  }
  if (least_[0] == 0 || latency < least_[0]) least_[0] = std::max<MonoNanos>(latency, 1);
  if (company_[0].queue != queue) company_[1] = company_[0];
  company_[0] = {.queue = queue, .at = now};
  ++appends_;
  if (latency - least() > std::max(kLateBy, least())) ++late_;
  if (now - adjusted_at_ >= kAdjustEvery) Adjust(now);
}

MonoNanos SpillPace::least() const {
  return least_[1] == 0 ? least_[0] : std::min(least_[0], least_[1]);
}

void SpillPace::Adjust(MonoNanos now) {
  // What nobody makes use of says nothing of how fast it may be.
  if (std::exchange(used_, false)) {
    const double seconds = static_cast<double>(std::min(now - adjusted_at_, kMostGrowthTime)) / 1e9;
    const double late = static_cast<double>(late_) / static_cast<double>(appends_);
    rate_ = std::clamp(rate_ * std::exp2(seconds * kDoublingsPerSecond - late * kHalvings),
                       static_cast<double>(kSlowestBytesPerSecond),
                       static_cast<double>(kFastestBytesPerSecond));
  }
  adjusted_at_ = now;
  appends_ = late_ = 0;
}

uint64_t SpillPace::bytes_per_second(const void* queue, MonoNanos now) const {
  const Append& other = company_[company_[0].queue == queue ? 1 : 0];
  const bool company = other.queue != nullptr && now - other.at < kCompanyFor;
  return company ? static_cast<uint64_t>(rate_) : 0;
}

MonoNanos SpillPace::Reserve(const void* queue, uint64_t bytes, MonoNanos now) {
  const uint64_t rate = bytes_per_second(queue, now);
  if (rate == 0) return now;
  used_ = true;
  const MonoNanos at = std::max(next_at_, now - kBurst);
  next_at_ =
      at + static_cast<MonoNanos>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate));
  return std::max(at, now);
}

}  // namespace spillway::credit
