// A few threads and a queue in front of them.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace spillway::storage {

// Thread-safe.
class TaskPool {
 public:
  // Runs with true when the pool is stopping: then finish without real work.
  using Task = std::function<void(bool stopping)>;

  explicit TaskPool(int threads);
  ~TaskPool() { Stop(); }
  // False, and `task` is not taken, once stopped, or when `limit` tasks wait
  // (0: no limit).
  bool Post(Task& task, size_t limit = 0);
  // Runs what waits with stopping = true, and ends the threads.
  void Stop();

 private:
  void Run();
  std::mutex mu_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;  // guarded by mu_
  bool stopping_ = false;   // guarded by mu_
  std::vector<std::thread> threads_;
};

}  // namespace spillway::storage
