package main

import (
	"fmt"
	"html"
	"io"
	"maps"
	"slices"
	"strings"
)

// flame is a frame of a flame graph: what was sampled in it and all that it called.
type flame struct {
	name     string
	samples  int
	children map[string]*flame
}

// flameOf folded stacks; its root stands for all.
func flameOf(folded map[string]int) *flame {
	root := &flame{name: "all"}
	for stack, samples := range folded {
		root.samples += samples
		at := root
		for name := range strings.SplitSeq(stack, ";") {
			next := at.children[name]
			if next == nil {
				next = &flame{name: name}
				if at.children == nil {
					at.children = map[string]*flame{}
				}
				at.children[name] = next
			}
			next.samples += samples
			at = next
		}
	}
	return root
}

// The sizes of a flame graph, in pixels.
const (
	flameWidth   = 1600.0
	flameRow     = 17
	flameMargin  = 10
	flameTitle   = 34
	flameLetter  = 6.6 // of the monospaced font
	leastVisible = 0.4 // narrower frames are left out, with what they call
)

// depth in rows of what is wide enough to be seen.
func (f *flame) depth(pixels float64) int {
	deepest := 0
	for _, child := range f.children {
		if float64(child.samples)*pixels >= leastVisible {
			deepest = max(deepest, child.depth(pixels))
		}
	}
	return deepest + 1
}

// writeFlame draws the graph as an SVG: callers below, what they call above them, each
// as wide as its share of the samples, which a browser shows under the pointer.
func writeFlame(w io.Writer, title string, folded map[string]int) error {
	root := flameOf(folded)
	pixels := flameWidth / float64(max(root.samples, 1))
	height := flameTitle + root.depth(pixels)*flameRow + flameMargin
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" font-family="monospace" font-size="11">`+"\n",
		flameWidth+2*flameMargin, height)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="22" font-size="14">%s</text>`+"\n",
		flameMargin, html.EscapeString(title))
	var draw func(f *flame, x float64, row int)
	draw = func(f *flame, x float64, row int) {
		width := float64(f.samples) * pixels
		y := height - flameMargin - (row+1)*flameRow
		fmt.Fprintf(&out, `<g><title>%s: %d samples, %.1f %%</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" stroke="#fff" stroke-width="0.5"/>`,
			html.EscapeString(f.name), f.samples, 100*float64(f.samples)/float64(root.samples), x, y, width, flameRow, flameColour(f.name, row))
		if text := fitted(f.name, width); text != "" {
			fmt.Fprintf(&out, `<text x="%.1f" y="%d">%s</text>`, x+3, y+12, html.EscapeString(text))
		}
		out.WriteString("</g>\n")
		for _, name := range slices.Sorted(maps.Keys(f.children)) {
			child := f.children[name]
			if float64(child.samples)*pixels >= leastVisible {
				draw(child, x, row+1)
			}
			x += float64(child.samples) * pixels
		}
	}
	if root.samples > 0 {
		draw(root, flameMargin, 0)
	}
	out.WriteString("</svg>\n")
	_, err := io.WriteString(w, out.String())
	return err
}

// fitted is as much of a name as a frame holds.
func fitted(name string, width float64) string {
	letters := int((width - 6) / flameLetter)
	switch {
	case len(name) <= letters:
		return name
	case letters < 3:
		return ""
	}
	return name[:letters-2] + ".."
}

// flameColour says whose code it is; threads are grey.
func flameColour(name string, row int) string {
	switch {
	case row <= 1:
		return "#d9d9d9"
	case strings.HasSuffix(name, kernelMark):
		return "#f4a582"
	case strings.Contains(name, "spillway::"):
		return "#92c5de"
	case strings.Contains(name, "rocksdb"):
		return "#fddc8a"
	case strings.Contains(name, "grpc"):
		return "#b8e0b0"
	}
	return "#e8d4e8"
}
