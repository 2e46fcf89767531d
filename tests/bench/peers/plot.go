package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// bar is a figure of the JSON that ./dev bench peers writes.
type bar struct {
	Name   string  `json:"name"`
	Tier   string  `json:"tier"`
	Size   string  `json:"size"`
	System string  `json:"system"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
}

// chart holds the figures that are compared: of one workload and size, all tiers and
// systems.
type chart struct {
	name, size, unit string
	tiers, systems   []string
	values           map[[2]string]float64 // by tier and system
}

// plotFile draws a bar chart for each workload and size.
func plotFile(from, folder string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var report struct{ Figures []bar }
	if err := json.Unmarshal(text, &report); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, c := range charts(report.Figures) {
		if err := c.save(folder); err != nil {
			return err
		}
	}
	return nil
}

// charts of systems that exist; what has no system is no bar.
func charts(figures []bar) []*chart {
	var out []*chart
	find := func(b bar) *chart {
		for _, c := range out {
			if c.name == b.Name && c.size == b.Size {
				return c
			}
		}
		c := &chart{name: b.Name, size: b.Size, unit: b.Unit, values: map[[2]string]float64{}}
		out = append(out, c)
		return c
	}
	for _, b := range figures {
		if place(b.System) < 0 {
			continue
		}
		c := find(b)
		c.values[[2]string{b.Tier, b.System}] = b.Value
		if !slices.Contains(c.tiers, b.Tier) {
			c.tiers = append(c.tiers, b.Tier)
		}
		if !slices.Contains(c.systems, b.System) {
			c.systems = append(c.systems, b.System)
		}
	}
	for _, c := range out {
		slices.SortFunc(c.systems, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	}
	return out
}

// place of a system with one of its clients among all, which also gives it its colour.
func place(name string) int {
	var names []string
	for _, s := range systems() {
		for _, c := range clientsOf(s) {
			names = append(names, c.name)
		}
	}
	return slices.Index(names, name)
}

// Colours that people with a colour weakness tell apart (Okabe and Ito).
var colours = []color.RGBA{
	{0, 114, 178, 255}, {86, 180, 233, 255}, {0, 0, 0, 255}, // Spillway's clients
	{230, 159, 0, 255}, {240, 228, 66, 255}, // Kafka's
	{213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{153, 153, 153, 255}, {204, 204, 204, 255}, // the relays
}

const barWidth = 18 // points

func (c *chart) save(folder string) error {
	p := plot.New()
	p.Title.Text = c.name
	if !strings.Contains(c.name, c.size) {
		p.Title.Text += ", " + c.size
	}
	p.Y.Label.Text = c.unit
	p.Y.Min = 0
	p.Legend.Top = true
	scale, unit := readable(c.unit, c.highest())
	p.Y.Label.Text = unit
	p.NominalX(c.tiers...)
	for i, system := range c.systems {
		var values plotter.Values
		for _, tier := range c.tiers {
			values = append(values, c.values[[2]string{tier, system}]/scale)
		}
		bars, err := plotter.NewBarChart(values, vg.Points(barWidth))
		if err != nil {
			return err
		}
		bars.Color = colours[place(system)%len(colours)]
		bars.LineStyle.Width = 0
		bars.Offset = vg.Points((float64(i) - float64(len(c.systems)-1)/2) * barWidth)
		p.Add(bars)
		p.Legend.Add(system, bars)
	}
	// Bars would have the axis begin at the first of them. Room for the legend above.
	p.X.Min, p.X.Max = -0.5, float64(len(c.tiers))-0.5
	p.Y.Max = math.Max(p.Y.Max, c.highest()/scale) * 1.35
	width := vg.Points(160 + float64(len(c.tiers))*(float64(len(c.systems))+2)*barWidth)
	return p.Save(max(width, 12*vg.Centimeter), 9*vg.Centimeter, filepath.Join(folder, c.file()))
}

func (c *chart) highest() float64 {
	var out float64
	for _, v := range c.values {
		out = max(out, v)
	}
	return out
}

// readable scales values so that the axis has few digits.
func readable(unit string, highest float64) (scale float64, text string) {
	switch {
	case unit == "us" && highest >= 1e3:
		return 1e3, "milliseconds"
	case unit == "us":
		return 1, "microseconds"
	case highest >= 1e6:
		return 1e6, "million " + unit
	case highest >= 1e3:
		return 1e3, "thousand " + unit
	default:
		return 1, unit
	}
}

// file is named after what it shows.
func (c *chart) file() string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case r == ' ', r == '-', r == '/':
			return '-'
		default:
			return -1
		}
	}, fmt.Sprintf("%s %s", c.name, c.size))
	return name + ".svg"
}
