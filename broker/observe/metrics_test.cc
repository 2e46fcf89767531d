#include "broker/observe/metrics.h"

#include <gtest/gtest.h>

#include <string>

namespace spillway::observe {
namespace {

namespace pb = ::spillway::v1;

TEST(Metrics, SaysWhatTheSnapshotSays) {
  Metrics page;
  EXPECT_EQ(page.Text(), "");
  pb::WatchResponse snapshot;
  pb::Queue* queue = snapshot.add_queues();
  queue->set_name("orders");
  queue->mutable_tuning()->set_window_bytes(100);
  queue->mutable_stats()->set_depth_messages(7);
  queue->mutable_stats()->set_resident_bytes(25);
  queue->mutable_stats()->set_reason(pb::CREDIT_REASON_WINDOW_FULL);
  snapshot.mutable_broker()->set_version("1.2.3");
  ServiceStats service;
  service.loop.Add(0.0002);
  service.errors[15] = 3;
  runtime::Broker::Observed observed;
  observed.sync_seconds.Add(0.002);
  observed.commit_records.Add(5);
  Histogram delivery(kSecondsBounds);
  delivery.Add(0.2, 3);
  observed.delivery_seconds.emplace_back("orders", delivery);
  page.Update(snapshot, observed, service);
  page.Update(snapshot, observed, service);
  const std::string text = page.Text();
  for (const char* line :
       {"spillway_queue_depth_messages{queue=\"orders\"} 7\n",
        "spillway_queue_occupancy_ratio{queue=\"orders\",tier=\"memory\"} 0.25\n",
        "spillway_backpressure_signals_total{reason=\"WINDOW_FULL\"} 1\n",
        "spillway_errors_total{kind=\"TIMED_OUT\"} 3\n", "spillway_loop_lag_seconds_count 1\n",
        "spillway_loop_lag_seconds_bucket{le=\"0.0001\"} 0\n",
        "spillway_loop_lag_seconds_bucket{le=\"0.00025\"} 1\n",
        "spillway_wal_sync_duration_seconds_bucket{le=\"0.0025\"} 1\n",
        "spillway_commit_records_bucket{le=\"4\"} 0\n",
        "spillway_commit_records_bucket{le=\"16\"} 1\n",
        "spillway_delivery_latency_seconds_bucket{queue=\"orders\",le=\"0.1\"} 0\n",
        "spillway_delivery_latency_seconds_bucket{queue=\"orders\",le=\"0.25\"} 3\n",
        "spillway_build_info{version=\"1.2.3\"} 1\n",
        "# TYPE spillway_published_messages_total counter\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(Metrics, BoundsItsSeries) {
  Metrics page;
  pb::WatchResponse snapshot;
  for (int i = 0; i < Metrics::kMaxQueues + 3; ++i) {
    pb::Queue* queue = snapshot.add_queues();
    queue->set_name("q" + std::to_string(10'000 + i));
    queue->mutable_stats()->set_depth_messages(10);
  }
  Histogram delivery(kSecondsBounds);
  delivery.Add(1);
  runtime::Broker::Observed observed;
  for (const pb::Queue& queue : snapshot.queues()) {
    observed.delivery_seconds.emplace_back(queue.name(), delivery);
  }
  page.Update(snapshot, observed, {});
  const std::string text = page.Text();
  EXPECT_NE(text.find("spillway_queue_depth_messages{queue=\"q10999\"} 10\n"), std::string::npos);
  EXPECT_EQ(text.find("q11000"), std::string::npos);
  EXPECT_NE(text.find("spillway_queue_depth_messages{queue=\"_other\"} 30\n"), std::string::npos);
  EXPECT_NE(text.find("spillway_delivery_latency_seconds_count{queue=\"_other\"} 3\n"),
            std::string::npos);
}

}  // namespace
}  // namespace spillway::observe
