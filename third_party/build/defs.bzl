"""C++ rules with what every test and binary of Spillway links."""

_TSAN = ["//third_party/tsan:options"]

def spillway_cc_library(name, **kwargs):
    """A cc_library; here so that BUILD files load one set of rules."""
    native.cc_library(name = name, **kwargs)

def spillway_cc_binary(name, deps = [], **kwargs):
    """A cc_binary that also runs under the thread sanitizer."""
    native.cc_binary(name = name, deps = deps + _TSAN, **kwargs)

def spillway_cc_test(name, srcs = None, deps = [], main = True, size = "small", **kwargs):
    """A GoogleTest that also runs under every sanitizer.

    Args:
      name: of the test.
      srcs: by default `<name>.cc`.
      deps: GoogleTest and GoogleMock are added.
      main: whether to link GoogleTest's main().
      size: as usual. Tests that start several processes also get `tags = ["e2e"]`.
      **kwargs: as in cc_test.
    """
    native.cc_test(
        name = name,
        srcs = srcs or [name + ".cc"],
        size = size,
        deps = deps + _TSAN + ["@debian//:gtest_main" if main else "@debian//:gtest"],
        **kwargs
    )

def spillway_cc_fuzz(name, srcs = None, deps = [], **kwargs):
    """A libFuzzer target; `./dev fuzz` finds it by its tag and runs it.

    Args:
      name: of the target; what it finds is kept under this name.
      srcs: by default `<name>.cc`.
      deps: as usual.
      **kwargs: as in cc_binary.
    """
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = srcs or [name + ".cc"],
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["fuzz", "manual"],
        deps = deps,
        **kwargs
    )
