// What the thread sanitizer must not report. Debian's libraries are not
// instrumented: it cannot see their locks, so it takes what they guard for races.
// The price: a race of ours with a gRPC or protobuf frame in its stack is hidden.

#if defined(SPILLWAY_TSAN)

extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }

extern "C" const char* __tsan_default_suppressions() {
  return "race:libgrpc.so\n"
         "race:libgrpc++.so\n"
         "race:libgpr.so\n"
         "race:libprotobuf.so\n"
         "race:librocksdb.so\n"
         "race:libabsl_\n"
         "race:libprometheus-cpp\n"
         "race:^grpc::\n"
         "race:^google::protobuf::\n"
         "deadlock:libabsl_\n"
         "deadlock:librocksdb.so\n";
}

#endif
