#include "tests/bench/limits/start_relay.h"

#include <iostream>

namespace spillway::bench {

std::unique_ptr<grpc::Server> StartRelay(grpc::AsyncGenericService* service,
                                         std::unique_ptr<grpc::ServerCompletionQueue>* events) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterAsyncGenericService(service);
  *events = builder.AddCompletionQueue();
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::cerr << "cannot listen\n";
  } else {
    std::cout << port << std::endl;
  }
  return server;
}

}  // namespace spillway::bench
