#include "broker/observe/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <exception>
#include <initializer_list>
#include <limits>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

namespace spillway::observe {
namespace {

namespace pb = ::spillway::v1;
namespace metric = registry::metric;
using prometheus::ClientMetric;
using prometheus::MetricFamily;

// Gathers the samples of a page, family by family.
class PageMaker {
 public:
  // Label values in the order of the registry's names.
  void Add(const registry::Metric& what, double value,
           std::initializer_list<std::string_view> labels = {}) {
    ClientMetric& sample = NewSample(what, labels);
    if (what.kind == registry::MetricKind::kCounter) {
      sample.counter.value = value;
    } else {
      sample.gauge.value = value;
    }
  }

  void AddHistogram(const registry::Metric& what, const Histogram& histogram,
                    std::initializer_list<std::string_view> labels = {}) {
    ClientMetric& sample = NewSample(what, labels);
    uint64_t cumulative = 0;
    for (size_t i = 0; i < histogram.counts().size(); ++i) {
      cumulative += histogram.counts()[i];
      const double bound = i < histogram.bounds().size() ? histogram.bounds()[i]
                                                         : std::numeric_limits<double>::infinity();
      sample.histogram.bucket.push_back({.cumulative_count = cumulative, .upper_bound = bound});
    }
    sample.histogram.sample_count = cumulative;
    sample.histogram.sample_sum = histogram.sum();
  }

  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  ClientMetric& NewSample(const registry::Metric& what,
                          std::initializer_list<std::string_view> labels) {
    auto [it, added] = index_.try_emplace(what.name, families_.size());
    if (added) {
      MetricFamily family;
      family.name = std::string(what.name);
      family.help = std::string(what.help);
      switch (what.kind) {
        case registry::MetricKind::kCounter:
          family.type = prometheus::MetricType::Counter;
          break;
        case registry::MetricKind::kGauge:
          family.type = prometheus::MetricType::Gauge;
          break;
        case registry::MetricKind::kHistogram:
          family.type = prometheus::MetricType::Histogram;
          break;
      }
      families_.push_back(std::move(family));
    }
    ClientMetric sample;
    size_t i = 0;
    for (const std::string_view value : labels) {
      sample.label.push_back({std::string(what.labels[i++]), std::string(value)});
    }
    families_[it->second].metric.push_back(std::move(sample));
    return families_[it->second].metric.back();
  }

  std::vector<MetricFamily> families_;
  std::map<std::string_view, size_t> index_;
};

double Ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Sums what can be summed; the age is the highest.
void AddTo(const pb::Queue& from, pb::Queue* to) {
  pb::QueueStats* sum = to->mutable_stats();
  const pb::QueueStats& s = from.stats();
#define SPILLWAY_SUM(field) sum->set_##field(sum->field() + s.field())
  SPILLWAY_SUM(depth_messages);
  SPILLWAY_SUM(depth_bytes);
  SPILLWAY_SUM(resident_bytes);
  SPILLWAY_SUM(disk_bytes);
  SPILLWAY_SUM(published_messages_total);
  SPILLWAY_SUM(published_bytes_total);
  SPILLWAY_SUM(delivered_messages_total);
  SPILLWAY_SUM(delivered_bytes_total);
  SPILLWAY_SUM(settled_messages_total);
  SPILLWAY_SUM(spilled_messages_total);
  SPILLWAY_SUM(spilled_bytes_total);
  SPILLWAY_SUM(unspilled_messages_total);
  SPILLWAY_SUM(dropped_messages_total);
  SPILLWAY_SUM(duplicates_total);
  SPILLWAY_SUM(redelivered_messages_total);
#undef SPILLWAY_SUM
  sum->set_oldest_age_ms(std::max(sum->oldest_age_ms(), s.oldest_age_ms()));
  pb::Credit* unspent = sum->mutable_producer_unspent();
  unspent->set_messages(unspent->messages() + s.producer_unspent().messages());
  unspent->set_bytes(unspent->bytes() + s.producer_unspent().bytes());
  pb::QueueTuning* tuning = to->mutable_tuning();
  tuning->set_window_bytes(tuning->window_bytes() + from.tuning().window_bytes());
  tuning->set_disk_quota_bytes(tuning->disk_quota_bytes() + from.tuning().disk_quota_bytes());
}

void AddQueue(const pb::Queue& queue, PageMaker* page) {
  const pb::QueueStats& s = queue.stats();
  const std::string& name = queue.name();
  auto add = [&](const registry::Metric& what, uint64_t value) {
    page->Add(what, static_cast<double>(value), {name});
  };
  add(metric::kQueueDepthMessages, s.depth_messages());
  add(metric::kQueueDepthBytes, s.depth_bytes());
  page->Add(metric::kQueueOccupancyRatio, Ratio(s.resident_bytes(), queue.tuning().window_bytes()),
            {name, "memory"});
  page->Add(metric::kQueueOccupancyRatio, Ratio(s.disk_bytes(), queue.tuning().disk_quota_bytes()),
            {name, "disk"});
  page->Add(metric::kQueueOldestAgeSeconds, static_cast<double>(s.oldest_age_ms()) / 1000, {name});
  add(metric::kPublishedMessagesTotal, s.published_messages_total());
  add(metric::kPublishedBytesTotal, s.published_bytes_total());
  add(metric::kDeliveredMessagesTotal, s.delivered_messages_total());
  add(metric::kDeliveredBytesTotal, s.delivered_bytes_total());
  add(metric::kSettledMessagesTotal, s.settled_messages_total());
  add(metric::kRedeliveredMessagesTotal, s.redelivered_messages_total());
  add(metric::kDuplicatesTotal, s.duplicates_total());
  add(metric::kDroppedMessagesTotal, s.dropped_messages_total());
  add(metric::kSpillMessagesTotal, s.spilled_messages_total());
  add(metric::kSpillBytesTotal, s.spilled_bytes_total());
  add(metric::kUnspillMessagesTotal, s.unspilled_messages_total());
  page->Add(metric::kCreditsAvailable, static_cast<double>(s.producer_unspent().messages()),
            {name, "producer", "messages"});
  page->Add(metric::kCreditsAvailable, static_cast<double>(s.producer_unspent().bytes()),
            {name, "producer", "bytes"});
}

void AddBroker(const pb::WatchResponse& snapshot, const ServiceStats& service, PageMaker* page) {
  const pb::BrokerStats& b = snapshot.broker();
  page->Add(metric::kMemoryBytes, static_cast<double>(b.memory_used_bytes()), {"records"});
  page->Add(metric::kMemoryBytes, static_cast<double>(b.resident_memory_bytes()), {"process"});
  page->Add(metric::kMemoryBudgetBytes, static_cast<double>(b.memory_budget_bytes()));
  page->Add(metric::kDiskFreeBytes, static_cast<double>(b.disk_free_bytes()));
  page->Add(metric::kStoreBytes, static_cast<double>(b.store_bytes()));
  uint64_t producers = 0, consumers = 0, readers = 0;
  for (const pb::Queue& queue : snapshot.queues()) {
    producers += queue.stats().producers();
    consumers += queue.stats().consumers();
    readers += queue.stats().readers();
  }
  page->Add(metric::kSessions, static_cast<double>(producers), {"PRODUCER"});
  page->Add(metric::kSessions, static_cast<double>(consumers), {"CONSUMER"});
  page->Add(metric::kSessions, static_cast<double>(readers), {"READER"});
  page->Add(metric::kConnections, static_cast<double>(service.connections));
  for (const registry::ErrorKindInfo& kind : registry::kErrorKinds) {
    page->Add(metric::kErrorsTotal,
              static_cast<double>(service.errors[static_cast<size_t>(kind.number)]), {kind.name});
  }
  page->AddHistogram(metric::kLoopLagSeconds, service.loop);
  page->Add(metric::kDraining, b.draining() ? 1 : 0);
  page->Add(metric::kBuildInfo, 1, {b.version()});
}

void AddLatencies(const runtime::Broker::Observed& observed, PageMaker* page) {
  Histogram others = observed.other_delivery_seconds;
  size_t n = 0;
  for (const auto& [queue, seconds] : observed.delivery_seconds) {
    if (n++ < Metrics::kMaxQueues) {
      page->AddHistogram(metric::kDeliveryLatencySeconds, seconds, {queue});
    } else {
      others.Add(seconds);
    }
  }
  if (others.total() > 0) page->AddHistogram(metric::kDeliveryLatencySeconds, others, {"_other"});
}

}  // namespace

// Written by Update, read by the HTTP server's threads; they meet at a pointer.
class Metrics::Page final : public prometheus::Collectable {
 public:
  void Set(std::vector<MetricFamily> families) {
    auto fresh = std::make_shared<const std::vector<MetricFamily>>(std::move(families));
    const std::lock_guard lock(mutex_);
    families_ = std::move(fresh);
  }
  std::vector<MetricFamily> Collect() const override {
    std::shared_ptr<const std::vector<MetricFamily>> families;
    {
      const std::lock_guard lock(mutex_);
      families = families_;
    }
    return families == nullptr ? std::vector<MetricFamily>() : *families;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const std::vector<MetricFamily>> families_;  // guarded by mutex_
};

class Metrics::Server {
 public:
  explicit Server(const std::string& address) : exposer(address, 2) {}
  prometheus::Exposer exposer;
};

Metrics::Metrics() : page_(std::make_shared<Page>()) {}
Metrics::~Metrics() = default;

void Metrics::CountReasons(const pb::WatchResponse& snapshot) {
  std::map<std::string, int> reasons;
  for (const pb::Queue& queue : snapshot.queues()) {
    const int reason = queue.stats().reason();
    if (reason == pb::CREDIT_REASON_UNSPECIFIED) continue;
    reasons[queue.name()] = reason;
    const auto before = last_reasons_.find(queue.name());
    if (before == last_reasons_.end() || before->second != reason) ++reason_starts_[reason];
  }
  last_reasons_ = std::move(reasons);
}

void Metrics::Update(const pb::WatchResponse& snapshot, const runtime::Broker::Observed& observed,
                     const ServiceStats& service) {
  CountReasons(snapshot);
  PageMaker page;
  pb::Queue other;
  other.set_name("_other");
  for (int i = 0; i < snapshot.queues_size(); ++i) {
    if (i < kMaxQueues) {
      AddQueue(snapshot.queues(i), &page);
    } else {
      AddTo(snapshot.queues(i), &other);
    }
  }
  if (snapshot.queues_size() > kMaxQueues) AddQueue(other, &page);
  for (int reason = 1; reason <= pb::CreditReason_MAX; ++reason) {
    constexpr std::string_view kPrefix = "CREDIT_REASON_";
    const std::string& name = pb::CreditReason_Name(static_cast<pb::CreditReason>(reason));
    page.Add(metric::kBackpressureSignalsTotal, static_cast<double>(reason_starts_[reason]),
             {std::string_view(name).substr(kPrefix.size())});
  }
  AddBroker(snapshot, service, &page);
  page.AddHistogram(metric::kWalSyncDurationSeconds, observed.sync_seconds);
  page.AddHistogram(metric::kCommitRecords, observed.commit_records);
  AddLatencies(observed, &page);
  page_->Set(page.Take());
}

std::string Metrics::Text() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, page_->Collect());
  return out.str();
}

Status Metrics::Serve(const std::string& address) {
  try {
    server_ = std::make_unique<Server>(address);
  } catch (const std::exception& e) {
    return InvalidArgument("http_listen", "cannot listen on " + address + ": " + e.what());
  }
  server_->exposer.RegisterCollectable(page_);
  return Unit{};
}

int Metrics::port() const {
  if (!server_) return 0;
  const auto ports = server_->exposer.GetListeningPorts();
  return ports.empty() ? 0 : ports.front();
}

}  // namespace spillway::observe
