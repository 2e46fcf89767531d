package conformance

import (
	"encoding/json"
	"slices"
)

// shape is what an answer looks like without its values: the names of its fields
// and their types, the first element of a list for all, and the names in an error.
// Clients that behave alike answer the same step in the same shape, also in fields
// that the scenario does not look at. Of refusals that are the client's own only the
// kind counts: each language says as much of them as is usual there.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if kind, ok := v["kind"].(string); ok && slices.Contains([]string{"NO_CREDIT", "TIMEOUT", "END"}, kind) {
			return kind
		}
		out := map[string]any{}
		for k, field := range v {
			switch k {
			case "id":
			case "kind", "field", "reason", "mode":
				out[k] = field
			default:
				out[k] = shape(field)
			}
		}
		return out
	case []any:
		if len(v) == 0 {
			return "list"
		}
		return []any{shape(v[0])}
	case json.Number:
		return "number"
	case string:
		return "text"
	case bool:
		return v
	}
	return v
}
