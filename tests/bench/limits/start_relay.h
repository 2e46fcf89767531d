// How a relay begins to serve.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <memory>

namespace spillway::bench {

// Serves `service` on a free port of loopback, for messages of any size, its events in
// `*events`, and prints the port as a line, which whoever started the program reads. Says
// why on stderr, and returns null, if it cannot listen.
std::unique_ptr<grpc::Server> StartRelay(grpc::AsyncGenericService* service,
                                         std::unique_ptr<grpc::ServerCompletionQueue>* events);

}  // namespace spillway::bench
