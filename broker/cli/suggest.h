// "Did you mean": the nearest of some names.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spillway::cli {

// Insertions, deletions, replacements and swaps of neighbours that lead from one
// to the other.
size_t EditDistance(std::string_view a, std::string_view b);
// "; did you mean 'x'?", or nothing.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& names);
// The nearest of `names`, if it is near: a third of the length, at least 1.
std::optional<std::string> Nearest(std::string_view word, const std::vector<std::string>& names);

}  // namespace spillway::cli
