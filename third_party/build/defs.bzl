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

def spillway_cc_fuzz(name, srcs = None, deps = [], seeds = []):
    """A libFuzzer target, and a test that runs its seeds without libFuzzer.

    `./dev fuzz` finds the target by its tag; the test is `<name>_test`.

    Args:
      name: of the target; what fuzzing finds is kept under this name.
      srcs: by default `<name>.cc`.
      deps: as usual.
      seeds: files of inputs, such as glob(["testdata/<name>/*"]).
    """
    native.cc_library(
        name = name + "_entry",
        testonly = True,
        srcs = srcs or [name + ".cc"],
        deps = deps,
        alwayslink = True,
    )
    native.cc_binary(
        name = name,
        testonly = True,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["fuzz", "manual"],
        deps = [name + "_entry"],
    )
    native.cc_test(
        name = name + "_test",
        size = "small",
        args = ["$(location %s)" % seed for seed in seeds],
        data = seeds,
        deps = [name + "_entry", "//third_party/fuzz:replay"] + _TSAN,
    )
