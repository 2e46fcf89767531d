// What RocksDB's own threads report.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include <rocksdb/listener.h>

#include "broker/base/thread_weight.h"

namespace spillway::storage {

// Hands RocksDB's events to the store while the store listens. Thread-safe.
class TableListener final : public rocksdb::EventListener {
 public:
  struct Handlers {
    std::function<void()> on_files_changed;
    std::function<void()> on_flushed;  // after on_files_changed
    std::function<void(std::string why)> on_error;
  };
  void Listen(Handlers handlers) {
    std::lock_guard lock(mu_);
    handlers_ = std::move(handlers);
    if (!early_error_.empty() && handlers_.on_error) handlers_.on_error(early_error_);
  }
  // No handler runs once this has returned.
  void Stop() { Listen({}); }

  // Where cores are short, what is written for later must not delay who waits now.
  void OnFlushBegin(rocksdb::DB*, const rocksdb::FlushJobInfo&) override { BeBackground(); }
  void OnCompactionBegin(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override {
    BeBackground();
  }
  void OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    FilesChanged();
    std::lock_guard lock(mu_);
    if (handlers_.on_flushed) handlers_.on_flushed();
  }
  void OnCompactionCompleted(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override {
    FilesChanged();
  }
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* status) override {
    std::lock_guard lock(mu_);
    early_error_ = "background error: " + status->ToString();
    if (handlers_.on_error) handlers_.on_error(early_error_);
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }

 private:
  void FilesChanged() {
    std::lock_guard lock(mu_);
    if (handlers_.on_files_changed) handlers_.on_files_changed();
  }
  std::mutex mu_;
  Handlers handlers_;        // guarded by mu_
  std::string early_error_;  // guarded by mu_
};

}  // namespace spillway::storage
