"""Protobuf and gRPC for C++ with Debian's protoc."""

def spillway_proto_library(name, srcs, deps = [], grpc = False, visibility = None):
    """Compiles protos of the calling package, which is the import root.

    Args:
      name: of the cc_library. Include as `#include "spillway/v1/record.pb.h"`.
      srcs: the .proto files, relative to the package.
      deps: other proto libraries.
      grpc: whether to generate services too.
      visibility: as usual.
    """
    stems = [src[:-len(".proto")] for src in srcs]
    extensions = [".pb"] + ([".grpc.pb"] if grpc else [])
    hdrs = [stem + ext + ".h" for stem in stems for ext in extensions]
    ccs = [stem + ext + ".cc" for stem in stems for ext in extensions]
    tools = ["@debian//:protoc"]
    plugin = ""
    if grpc:
        tools.append("@debian//:grpc_cpp_plugin")
        plugin = "--plugin=protoc-gen-grpc=$(execpath @debian//:grpc_cpp_plugin) --grpc_out=$(RULEDIR)"

    native.genrule(
        name = name + "_gen",
        # All protos, because srcs import their neighbours.
        srcs = native.glob(["**/*.proto"]),
        outs = hdrs + ccs,
        cmd = "$(execpath @debian//:protoc) -I%s -I/usr/include --cpp_out=$(RULEDIR) %s %s" %
              (native.package_name(), plugin, " ".join(srcs)),
        tools = tools,
    )
    native.cc_library(
        name = name,
        srcs = ccs,
        hdrs = hdrs,
        copts = ["-w"],
        includes = ["."],
        visibility = visibility,
        deps = deps + (["@grpc//:grpc++"] if grpc else ["@debian//:protobuf"]),
    )
