package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// protos is what the registry must agree with.
type protos struct {
	tuning []field
	errors []errorKind
}

type field struct {
	name       string
	number     int32
	typ        string // uint32, uint64, or the enum's name
	enumValues []string
}

type errorKind struct {
	name   string
	number int32
	code   string // from the comment: "… [NOT_FOUND]"
}

// readProtos compiles the protos under dir with the protoc of the PATH.
func readProtos(dir string) (*protos, error) {
	temp, err := os.MkdirTemp("", "registry")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	set := filepath.Join(temp, "set.pb")
	cmd := exec.Command("protoc", "-I", dir, "--include_imports", "--include_source_info",
		"--descriptor_set_out", set, "spillway/v1/queue.proto", "spillway/v1/error.proto")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("protoc: %w\n%s", err, out)
	}
	data, err := os.ReadFile(set)
	if err != nil {
		return nil, err
	}
	var descriptors descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &descriptors); err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(&descriptors)
	if err != nil {
		return nil, err
	}

	tuning, err := files.FindDescriptorByName("spillway.v1.QueueTuning")
	if err != nil {
		return nil, err
	}
	kinds, err := files.FindDescriptorByName("spillway.v1.ErrorKind")
	if err != nil {
		return nil, err
	}
	p := &protos{}
	fields := tuning.(protoreflect.MessageDescriptor).Fields()
	for i := range fields.Len() {
		f, err := readField(fields.Get(i))
		if err != nil {
			return nil, err
		}
		p.tuning = append(p.tuning, f)
	}
	values := kinds.(protoreflect.EnumDescriptor).Values()
	for i := range values.Len() {
		if value := values.Get(i); value.Number() != 0 {
			p.errors = append(p.errors, readErrorKind(value))
		}
	}
	return p, nil
}

func readField(d protoreflect.FieldDescriptor) (field, error) {
	f := field{name: string(d.Name()), number: int32(d.Number()), typ: d.Kind().String()}
	enum := d.Enum()
	if enum == nil {
		return f, nil
	}
	f.typ = string(enum.Name())
	values := enum.Values()
	for i := range values.Len() {
		value := values.Get(i)
		// Generated tables index by number.
		if int(value.Number()) != i {
			return f, fmt.Errorf("%s: values are not dense from 0", enum.FullName())
		}
		if i > 0 {
			f.enumValues = append(f.enumValues, trimPrefix(enum, value))
		}
	}
	return f, nil
}

var codeInBrackets = regexp.MustCompile(`\[([A-Z_]+)\]\s*$`)

func readErrorKind(value protoreflect.EnumValueDescriptor) errorKind {
	enum := value.Parent().(protoreflect.EnumDescriptor)
	kind := errorKind{name: trimPrefix(enum, value), number: int32(value.Number())}
	comment := value.ParentFile().SourceLocations().ByDescriptor(value).LeadingComments
	if match := codeInBrackets.FindStringSubmatch(comment); match != nil {
		kind.code = match[1]
	}
	return kind
}

// trimPrefix is ERROR_KIND_FENCED → FENCED.
func trimPrefix(enum protoreflect.EnumDescriptor, value protoreflect.EnumValueDescriptor) string {
	return strings.TrimPrefix(string(value.Name()), upperSnake(string(enum.Name()))+"_")
}

// upperSnake is ErrorKind → ERROR_KIND.
func upperSnake(camel string) string {
	return strings.ToUpper(regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(camel, "${1}_${2}"))
}
