// The calls of Admin that concern all queues: each shard answers for its own, and who
// was asked puts the answers together.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "broker/base/registry.gen.h"
#include "broker/base/version.h"
#include "broker/runtime/broker_impl.h"
#include "broker/runtime/explain.h"
#include "broker/runtime/page_size.h"

namespace spillway::runtime {
namespace {

uint64_t ResidentMemoryBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// One page of the shards' pages: the first ones in the order of `key`. A shard that has
// more than its page fills the common one alone, so nothing in between is left out.
template <typename Response, typename Element>
Result<Response> MergePages(std::vector<Result<Response>> answers, uint32_t page_size,
                            google::protobuf::RepeatedPtrField<Element>* (Response::*list)(),
                            const std::string& (Element::*key)() const) {
  Response merged;
  auto* all = (merged.*list)();
  bool more = false;
  for (Result<Response>& answer : answers) {
    if (!answer) return answer.error();
    for (Element& element : *((*answer).*list)()) *all->Add() = std::move(element);
    more = more || !answer->next_page_token().empty();
  }
  std::sort(all->begin(), all->end(),
            [key](const Element& a, const Element& b) { return (a.*key)() < (b.*key)(); });
  const int size = static_cast<int>(page_size == 0 ? registry::limit::kMaxPageSize : page_size);
  if (all->size() > size) {
    all->DeleteSubrange(size, all->size() - size);
    more = true;
  }
  if (more) merged.set_next_page_token((all->Get(size - 1).*key)());
  return merged;
}

// For what one shard at most has: its answer, or why there is none.
template <typename Response>
Result<Response> TheOneThatHasIt(std::vector<Result<Response>> answers) {
  for (Result<Response>& answer : answers) {
    if (answer) return std::move(answer);
  }
  return std::move(answers.front());
}

Error NoSuchSession(const char* field) {
  return {.kind = ErrorKind::kNotFound, .message = "there is no such session", .field = field};
}

}  // namespace

template <typename Response>
void BrokerImpl::Gather(const Ask<Response>& ask, Merge<Response> merge, Reply<Response> reply) {
  if (shared_->shards.size() == 1) return Answer<Response>(std::move(reply), ask(*this));
  struct Round {
    std::vector<std::optional<Result<Response>>> answers;
    size_t left;
    Merge<Response> merge;
    Reply<Response> reply;
  };
  const size_t shards = shared_->shards.size();
  auto round = std::make_shared<Round>(
      Round{.answers = {}, .left = shards, .merge = std::move(merge), .reply = std::move(reply)});
  round->answers.resize(shards);
  for (size_t i = 0; i < shards; ++i) {
    BrokerImpl* shard = shared_->shards[i];
    // The round goes to the other shard and comes back; only this one may let it go,
    // because of what the reply holds.
    shard->inbox_.Push([this, shard, i, ask, round]() mutable {
      inbox_.Push([i, round = std::move(round), answer = ask(*shard)]() mutable {
        round->answers[i] = std::move(answer);
        if (--round->left > 0) return;
        std::vector<Result<Response>> all;
        all.reserve(round->answers.size());
        for (auto& one : round->answers) all.push_back(std::move(*one));
        round->reply(round->merge(std::move(all)));
      });
    });
  }
}

// ---- Lists ---------------------------------------------------------------------

Result<pb::ListQueuesResponse> BrokerImpl::QueuesHere(const pb::ListQueuesRequest& request) {
  if (auto refusal = Refusal()) return *refusal;
  auto size = PageSize(request.page_size(), registry::limit::kMaxPageSize, "page_size");
  if (!size) return size.error();
  pb::ListQueuesResponse response;
  // A page's token is the last name of the page before.
  auto it = request.page_token().empty() ? lanes_.lower_bound(request.prefix())
                                         : lanes_.upper_bound(request.page_token());
  for (; it != lanes_.end(); ++it) {
    if (it->first.compare(0, request.prefix().size(), request.prefix()) != 0) break;
    if (static_cast<uint32_t>(response.queues_size()) == *size) {
      response.set_next_page_token(response.queues(response.queues_size() - 1).name());
      break;
    }
    FillQueue(*it->second, response.add_queues());
  }
  return response;
}

void BrokerImpl::ListQueues(const pb::ListQueuesRequest& request,
                            Reply<pb::ListQueuesResponse> reply) {
  using Response = pb::ListQueuesResponse;
  Gather<Response>([request](BrokerImpl& shard) { return shard.QueuesHere(request); },
                   [size = request.page_size()](std::vector<Result<Response>> answers) {
                     return MergePages(std::move(answers), size, &Response::mutable_queues,
                                       &pb::Queue::name);
                   },
                   std::move(reply));
}

Result<pb::ListSessionsResponse> BrokerImpl::SessionsHere(const pb::ListSessionsRequest& request) {
  if (auto refusal = Refusal()) return *refusal;
  auto size = PageSize(request.page_size(), registry::limit::kMaxPageSize, "page_size");
  if (!size) return size.error();
  std::vector<pb::Session> all;
  streams_.ForEach([&](const Stream& stream) {
    if (!request.queue().empty() && stream.queue != request.queue()) return;
    if (stream.id > request.page_token()) all.push_back(stream.Describe());
  });
  std::sort(all.begin(), all.end(),
            [](const pb::Session& a, const pb::Session& b) { return a.id() < b.id(); });
  pb::ListSessionsResponse response;
  for (auto& session : all) {
    if (static_cast<uint32_t>(response.sessions_size()) == *size) {
      response.set_next_page_token(response.sessions(response.sessions_size() - 1).id());
      break;
    }
    *response.add_sessions() = std::move(session);
  }
  return response;
}

void BrokerImpl::ListSessions(const pb::ListSessionsRequest& request,
                              Reply<pb::ListSessionsResponse> reply) {
  using Response = pb::ListSessionsResponse;
  Gather<Response>([request](BrokerImpl& shard) { return shard.SessionsHere(request); },
                   [size = request.page_size()](std::vector<Result<Response>> answers) {
                     return MergePages(std::move(answers), size, &Response::mutable_sessions,
                                       &pb::Session::id);
                   },
                   std::move(reply));
}

// ---- One session ---------------------------------------------------------------

Result<pb::CloseSessionResponse> BrokerImpl::CloseHere(const pb::CloseSessionRequest& request) {
  auto stream = streams_.Find(request.id());
  if (stream == nullptr) return NoSuchSession("id");
  stream->CloseByOperator();
  return pb::CloseSessionResponse();
}

void BrokerImpl::CloseSession(const pb::CloseSessionRequest& request,
                              Reply<pb::CloseSessionResponse> reply) {
  using Response = pb::CloseSessionResponse;
  Gather<Response>([request](BrokerImpl& shard) { return shard.CloseHere(request); },
                   &TheOneThatHasIt<Response>, std::move(reply));
}

Result<pb::ExplainResponse> BrokerImpl::ExplainHere(const pb::ExplainRequest& request) {
  pb::ExplainResponse response;
  switch (request.subject_case()) {
    case pb::ExplainRequest::kQueue: {
      // A queue that failed says why, so it is found all the same.
      auto it = lanes_.find(request.queue());
      if (it == lanes_.end()) return FindLane(request.queue(), "queue").error();
      it->second->Explain(&response);
      return response;
    }
    case pb::ExplainRequest::kSession: {
      auto stream = streams_.Find(request.session());
      if (stream == nullptr) return NoSuchSession("session");
      stream->Explain(now.mono, &response);
      return response;
    }
    default:
      return InvalidArgument("subject", "name a queue or a session");
  }
}

void BrokerImpl::Explain(const pb::ExplainRequest& request, Reply<pb::ExplainResponse> reply) {
  using Response = pb::ExplainResponse;
  if (!request.has_session()) return Answer<Response>(std::move(reply), ExplainHere(request));
  Gather<Response>([request](BrokerImpl& shard) { return shard.ExplainHere(request); },
                   &TheOneThatHasIt<Response>, std::move(reply));
}

// ---- Numbers -------------------------------------------------------------------

Result<pb::WatchResponse> BrokerImpl::SnapshotHere(const pb::WatchRequest& request) {
  pb::WatchResponse response;
  if (request.queue().empty()) {
    for (const auto& [name, lane] : lanes_) {
      if (static_cast<uint64_t>(response.queues_size()) == registry::limit::kMaxPageSize) break;
      FillQueue(*lane, response.add_queues());
    }
  } else {
    auto lane = FindLane(request.queue(), "queue");
    if (!lane) return lane.error();
    FillQueue(**lane, response.add_queues());
  }
  return response;
}

void BrokerImpl::FillNumbers(pb::WatchResponse* response) const {
  response->set_at_unix_ms(now.unix_ms);
  const auto stats = store->stats();
  pb::BrokerStats* broker = response->mutable_broker();
  broker->set_uptime_ms(static_cast<uint64_t>((now.mono - started_at_) / kNanosPerMilli));
  broker->set_resident_memory_bytes(ResidentMemoryBytes());
  broker->set_memory_budget_bytes(budget->limit_bytes());
  broker->set_memory_used_bytes(budget->used_bytes());
  broker->set_disk_free_bytes(disk_free_bytes_);
  broker->set_store_bytes(stats.live_bytes);
  broker->set_commits_total(stats.commits_total);
  broker->set_syncs_total(stats.syncs_total);
  broker->set_sessions(shared_->sessions);
  if (options_.connections) {
    broker->set_connections(static_cast<uint32_t>(options_.connections()));
  }
  broker->set_version(kVersion);
  broker->set_draining(draining());
}

namespace {

Result<pb::WatchResponse> MergeSnapshots(std::vector<Result<pb::WatchResponse>> answers) {
  for (const auto& answer : answers) {
    if (!answer) return answer.error();
  }
  pb::WatchResponse merged = std::move(*answers.front());
  auto* queues = merged.mutable_queues();
  for (size_t i = 1; i < answers.size(); ++i) {
    for (pb::Queue& queue : *answers[i]->mutable_queues()) *queues->Add() = std::move(queue);
  }
  std::sort(queues->begin(), queues->end(),
            [](const pb::Queue& a, const pb::Queue& b) { return a.name() < b.name(); });
  constexpr auto kMost = static_cast<int>(registry::limit::kMaxPageSize);
  if (queues->size() > kMost) queues->DeleteSubrange(kMost, queues->size() - kMost);
  return merged;
}

Result<Broker::Observed> MergeObserved(std::vector<Result<Broker::Observed>> answers) {
  Broker::Observed merged = std::move(*answers.front());
  auto& queues = merged.delivery_seconds;
  for (size_t i = 1; i < answers.size(); ++i) {
    for (auto& queue : answers[i]->delivery_seconds) queues.push_back(std::move(queue));
    merged.other_delivery_seconds.Add(answers[i]->other_delivery_seconds);
  }
  std::sort(queues.begin(), queues.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (; queues.size() > registry::limit::kMaxPageSize; queues.pop_back()) {
    merged.other_delivery_seconds.Add(queues.back().second);
  }
  return merged;
}

}  // namespace

void BrokerImpl::Snapshot(const pb::WatchRequest& request, Reply<pb::WatchResponse> reply) {
  using Response = pb::WatchResponse;
  // The broker's own numbers are the same for all shards.
  const auto with_numbers = [this, reply = std::move(reply)](Result<Response> snapshot) {
    if (snapshot) FillNumbers(&*snapshot);
    reply(std::move(snapshot));
  };
  if (!request.queue().empty()) return Answer<Response>(with_numbers, SnapshotHere(request));
  Gather<Response>([request](BrokerImpl& shard) { return shard.SnapshotHere(request); },
                   &MergeSnapshots, with_numbers);
}

Broker::Observed BrokerImpl::ObserveHere() const {
  Observed observed;
  for (const auto& [name, lane] : lanes_) {
    const Histogram& seconds = lane->consumers().delivery_seconds();
    if (observed.delivery_seconds.size() < registry::limit::kMaxPageSize) {
      observed.delivery_seconds.emplace_back(name, seconds);
    } else {
      observed.other_delivery_seconds.Add(seconds);
    }
  }
  return observed;
}

void BrokerImpl::Observe(Reply<Observed> reply) {
  const auto with_store = [this, reply = std::move(reply)](Result<Observed> observed) {
    if (observed) {
      const auto stats = store->stats();
      observed->sync_seconds.Add(stats.sync_seconds);
      observed->commit_records.Add(stats.commit_records);
    }
    reply(std::move(observed));
  };
  Gather<Observed>([](BrokerImpl& shard) -> Result<Observed> { return shard.ObserveHere(); },
                   &MergeObserved, with_store);
}

}  // namespace spillway::runtime
