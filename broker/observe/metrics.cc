#include "broker/observe/metrics.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "broker/base/registry.gen.h"
#include "prometheus/collectable.h"
#include "prometheus/exposer.h"
#include "prometheus/metric_family.h"

namespace spillway::observe {

namespace pb = ::spillway::v1;
using prometheus::ClientMetric;
using prometheus::MetricFamily;

namespace {

// Families in the making, by name.
class Families {
 public:
  void Add(const registry::Metric& metric, std::vector<std::string> labels, double value) {
    auto [it, fresh] = index_.emplace(std::string(metric.name), out_.size());
    if (fresh) {
      MetricFamily family;
      family.name = std::string(metric.name);
      family.help = std::string(metric.help);
      family.type = metric.kind == registry::MetricKind::kCounter ? prometheus::MetricType::Counter
                                                                  : prometheus::MetricType::Gauge;
      out_.push_back(std::move(family));
    }
    MetricFamily& family = out_[it->second];
    ClientMetric point;
    for (size_t i = 0; i < labels.size(); ++i) {
      point.label.push_back({std::string(metric.labels[i]), std::move(labels[i])});
    }
    if (family.type == prometheus::MetricType::Counter) {
      point.counter.value = value;
    } else {
      point.gauge.value = value;
    }
    family.metric.push_back(std::move(point));
  }
  std::vector<MetricFamily> Take() { return std::move(out_); }

 private:
  std::map<std::string, size_t> index_;
  std::vector<MetricFamily> out_;
};

double Ratio(uint64_t used, uint64_t of) {
  return of == 0 ? 0 : static_cast<double>(used) / static_cast<double>(of);
}

void AddQueue(const std::string& name, const pb::QueueStats& s, Families* out) {
  namespace m = registry::metric;
  const auto add = [&](const registry::Metric& metric, uint64_t value) {
    out->Add(metric, {name}, static_cast<double>(value));
  };
  add(m::kQueueDepthMessages, s.depth_messages());
  add(m::kQueueDepthBytes, s.depth_bytes());
  add(m::kPublishedMessagesTotal, s.published_messages_total());
  add(m::kPublishedBytesTotal, s.published_bytes_total());
  add(m::kDeliveredMessagesTotal, s.delivered_messages_total());
  add(m::kDeliveredBytesTotal, s.delivered_bytes_total());
  add(m::kSettledMessagesTotal, s.settled_messages_total());
  add(m::kRedeliveredMessagesTotal, s.redelivered_messages_total());
  add(m::kDuplicatesTotal, s.duplicates_total());
  add(m::kDroppedMessagesTotal, s.dropped_messages_total());
  add(m::kSpillMessagesTotal, s.spilled_messages_total());
  add(m::kSpillBytesTotal, s.spilled_bytes_total());
  add(m::kUnspillMessagesTotal, s.unspilled_messages_total());
  out->Add(m::kQueueOldestAgeSeconds, {name}, static_cast<double>(s.oldest_age_ms()) / 1e3);
  out->Add(m::kCreditsAvailable, {name, "producer", "messages"},
           static_cast<double>(s.producer_unspent().messages()));
  out->Add(m::kCreditsAvailable, {name, "producer", "bytes"},
           static_cast<double>(s.producer_unspent().bytes()));
}

void Sum(const pb::QueueStats& from, pb::QueueStats* to) {
  const auto* descriptor = pb::QueueStats::descriptor();
  const auto* reflection = pb::QueueStats::GetReflection();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_UINT64) continue;
    reflection->SetUInt64(to, field,
                          reflection->GetUInt64(*to, field) + reflection->GetUInt64(from, field));
  }
}

}  // namespace

class Metrics::Collector : public prometheus::Collectable {
 public:
  void Update(std::shared_ptr<const pb::WatchResponse> snapshot, int64_t longest_round_nanos) {
    const std::lock_guard lock(mutex_);
    snapshot_ = std::move(snapshot);
    longest_round_nanos_ = longest_round_nanos;
  }

  std::vector<MetricFamily> Collect() const override {
    namespace m = registry::metric;
    std::shared_ptr<const pb::WatchResponse> snapshot;
    {
      const std::lock_guard lock(mutex_);
      snapshot = snapshot_;
    }
    if (!snapshot) return {};
    Families out;
    pb::QueueStats other;
    int count = 0;
    for (const pb::Queue& queue : snapshot->queues()) {
      if (++count > kMaxQueues) {
        Sum(queue.stats(), &other);
        continue;
      }
      AddQueue(queue.name(), queue.stats(), &out);
      out.Add(m::kQueueOccupancyRatio, {queue.name(), "memory"},
              Ratio(queue.stats().resident_bytes(), queue.tuning().window_bytes()));
      out.Add(m::kQueueOccupancyRatio, {queue.name(), "disk"},
              Ratio(queue.stats().depth_bytes(), queue.tuning().disk_quota_bytes()));
    }
    if (count > kMaxQueues) AddQueue("other", other, &out);
    const pb::BrokerStats& b = snapshot->broker();
    out.Add(m::kMemoryBytes, {"resident"}, static_cast<double>(b.resident_memory_bytes()));
    out.Add(m::kMemoryBytes, {"windows"}, static_cast<double>(b.memory_used_bytes()));
    out.Add(m::kMemoryBudgetBytes, {}, static_cast<double>(b.memory_budget_bytes()));
    out.Add(m::kDiskFreeBytes, {}, static_cast<double>(b.disk_free_bytes()));
    out.Add(m::kStoreBytes, {}, static_cast<double>(b.store_bytes()));
    return out.Take();
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const pb::WatchResponse> snapshot_;  // guarded by mutex_
  int64_t longest_round_nanos_ = 0;                    // guarded by mutex_
};

class Metrics::Server {
 public:
  explicit Server(const std::string& address) : exposer_(address, 2) {}
  prometheus::Exposer exposer_;
};

Metrics::Metrics() : collector_(std::make_shared<Collector>()) {}
Metrics::~Metrics() = default;

Status Metrics::Serve(const std::string& address) {
  try {
    server_ = std::make_unique<Server>(address);
  } catch (const std::exception& e) {
    return InvalidArgument("http_listen", "cannot listen on " + address + ": " + e.what());
  }
  server_->exposer_.RegisterCollectable(collector_);
  return Unit{};
}

int Metrics::port() const {
  if (!server_) return 0;
  const auto ports = server_->exposer_.GetListeningPorts();
  return ports.empty() ? 0 : ports.front();
}

void Metrics::Update(std::shared_ptr<const pb::WatchResponse> snapshot,
                     int64_t longest_round_nanos) {
  collector_->Update(std::move(snapshot), longest_round_nanos);
}

}  // namespace spillway::observe
