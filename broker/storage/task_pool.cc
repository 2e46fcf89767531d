#include "broker/storage/task_pool.h"

#include "broker/base/thread_name.h"

namespace spillway::storage {

TaskPool::TaskPool(int threads) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, i] {
      NameThread("read-" + std::to_string(i));
      Run();
    });
  }
}

bool TaskPool::Post(Task& task, size_t limit) {
  {
    std::lock_guard lock(mu_);
    if (stopping_ || (limit > 0 && tasks_.size() >= limit)) return false;
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
  return true;
}

void TaskPool::Stop() {
  {
    std::lock_guard lock(mu_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto& t : threads_) t.join();
  threads_.clear();
}

void TaskPool::Run() {
  std::unique_lock lock(mu_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    const bool stopping = stopping_;
    lock.unlock();
    task(stopping);
    task = nullptr;
    lock.lock();
  }
}

}  // namespace spillway::storage
