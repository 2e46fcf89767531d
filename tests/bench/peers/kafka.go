package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	kafkaVersion = "4.3.1"
	kafkaMain    = "kafka.Kafka"
	kafkaTool    = "kafka.tools.StorageTool"
)

// kafkaSystem is one node that is broker and controller. Its acknowledgements are of
// the page cache, unless it flushes each message's segment first.
type kafkaSystem struct{ jars string }

func (*kafkaSystem) Name() string    { return "kafka" }
func (*kafkaSystem) Tiers() []string { return []string{tierPersisted, tierSynced} }
func (*kafkaSystem) Library() string { return "github.com/twmb/franz-go" }

// Install takes Kafka's jars from Maven's registry.
func (k *kafkaSystem) Install(ctx context.Context, cache string) (string, error) {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("needs %s; Debian: apt-get install default-jre-headless maven", tool)
		}
	}
	folder := filepath.Join(cache, "kafka-"+kafkaVersion)
	k.jars = filepath.Join(folder, "lib", "*")
	return kafkaVersion, cached(folder, func(folder string) error {
		pom := filepath.Join(folder, "pom.xml")
		dependency := func(artifact string) string {
			return "<dependency><groupId>org.apache.kafka</groupId><artifactId>" + artifact +
				"</artifactId><version>" + kafkaVersion + "</version></dependency>"
		}
		if err := writeFile(pom, `<project xmlns="http://maven.apache.org/POM/4.0.0">`,
			"<modelVersion>4.0.0</modelVersion>",
			"<groupId>dev.spillway</groupId><artifactId>peers</artifactId><version>1</version>",
			"<dependencies>", dependency("kafka_2.13"), dependency("kafka-tools"), "</dependencies></project>"); err != nil {
			return err
		}
		return quietly(ctx, nil, "mvn", "--batch-mode", "--quiet", "--file", pom,
			"dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(folder, "lib"))
	})
}

func (k *kafkaSystem) Start(ctx context.Context, tier, folder string) (Server, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "server.properties")
	lines := []string{
		"process.roles=broker,controller", "node.id=1",
		"controller.quorum.voters=1@" + loopback(ports[1]),
		"listeners=PLAINTEXT://" + loopback(ports[0]) + ",CONTROLLER://" + loopback(ports[1]),
		"advertised.listeners=PLAINTEXT://" + loopback(ports[0]),
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs=" + filepath.Join(folder, "logs"),
		"num.network.threads=2", "num.io.threads=4",
		"group.initial.rebalance.delay.ms=0",
		"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
		"message.max.bytes=8388608", "replica.fetch.max.bytes=8388608",
		"auto.create.topics.enable=false",
		"log.segment.delete.delay.ms=0",
	}
	if tier == tierSynced {
		lines = append(lines, "log.flush.interval.messages=1")
	}
	// Without settings for its log it says every request on the terminal.
	logging := filepath.Join(folder, "log4j2.properties")
	if err := writeFile(logging, "rootLogger.level=WARN", "rootLogger.appenderRef.out.ref=out",
		"appender.out.type=Console", "appender.out.name=out", "appender.out.layout.type=PatternLayout",
		"appender.out.layout.pattern=%p %m%n"); err != nil {
		return nil, err
	}
	if err := writeFile(config, lines...); err != nil {
		return nil, err
	}
	java := []string{"-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
		"-Dlog4j2.configurationFile=" + logging, "-cp", k.jars}
	// The id is that of an empty cluster; any will do.
	format := []string{"-cp", k.jars, "-Dlog4j2.configurationFile=" + logging, kafkaTool, "format",
		"--config", config, "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qk"}
	if err := quietly(ctx, nil, "java", format...); err != nil {
		return nil, err
	}
	process, err := startChild(folder, nil, "java", append(java, kafkaMain, config)...)
	if err != nil {
		return nil, err
	}
	s := &kafkaServer{child: process, address: loopback(ports[0])}
	if err := process.ready(ctx, time.Minute, s.ping); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

type kafkaServer struct {
	*child
	address string
}

func (s *kafkaServer) Address() string { return s.address }

// Warm says that the JVM should be used before it is measured, by loads of this length.
func (s *kafkaServer) Warm() time.Duration { return 3 * time.Second }

func (s *kafkaServer) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.address)}, options...)...)
}

func (s *kafkaServer) ping(ctx context.Context) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	// Not before the node is there to have partitions does it answer this with a broker.
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err == nil && len(brokers) == 0 {
		err = fmt.Errorf("no broker yet")
	}
	return err
}

func (s *kafkaServer) admin(do func(*kadm.Client) error) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return do(kadm.NewClient(client))
}

// Create makes one partition: one order of messages, as a queue and a stream have.
func (s *kafkaServer) Create(ctx context.Context, t topic) error {
	return s.admin(func(a *kadm.Client) error {
		_, err := a.CreateTopic(ctx, 1, 1, nil, t.name)
		return err
	})
}

func (s *kafkaServer) Delete(ctx context.Context, t topic) error {
	return s.admin(func(a *kadm.Client) error {
		_, err := a.DeleteTopic(ctx, t.name)
		return err
	})
}

func (s *kafkaServer) Window(t topic) int { return t.window(100_000, 32<<20) }

func (s *kafkaServer) Publisher(_ context.Context, t topic, acks *acks) (Publisher, error) {
	window := s.Window(t)
	// Batches of the most that the client takes; a linger fills them where only the
	// rate counts.
	linger := 5 * time.Millisecond
	if t.use == timing {
		linger = 0
	}
	client, err := s.client(kgo.DefaultProduceTopic(t.name), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(linger),
		kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(window+1))
	if err != nil {
		return nil, err
	}
	p := &kafkaPublisher{client: client, records: make([]kgo.Record, 2*window)}
	p.promise = func(_ *kgo.Record, err error) {
		if err != nil {
			acks.failed(err)
			return
		}
		acks.done(1)
	}
	return p, nil
}

type kafkaPublisher struct {
	client  *kgo.Client
	promise func(*kgo.Record, error)
	// In a ring, as the payloads are, so that none is allocated for a message.
	records []kgo.Record
	next    int
}

func (p *kafkaPublisher) Publish(ctx context.Context, payload []byte) error {
	record := &p.records[p.next]
	p.next = (p.next + 1) % len(p.records)
	*record = kgo.Record{Value: payload}
	p.client.Produce(ctx, record, p.promise)
	return nil
}

func (p *kafkaPublisher) Push(context.Context) error { return nil }

func (p *kafkaPublisher) One(ctx context.Context, payload []byte) error {
	return p.client.ProduceSync(ctx, &kgo.Record{Value: payload}).FirstErr()
}

func (p *kafkaPublisher) Close() { p.client.Close() }

// fetching asks for much at once and waits for little.
func (s *kafkaServer) fetching(options ...kgo.Opt) (*kgo.Client, error) {
	return s.client(append([]kgo.Opt{kgo.FetchMaxBytes(64 << 20), kgo.FetchMaxPartitionBytes(16 << 20),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(500 * time.Millisecond)}, options...)...)
}

// Consume commits offsets in the background, once a second.
func (s *kafkaServer) Consume(ctx context.Context, t topic, group string, take func([]byte)) error {
	client, err := s.fetching(kgo.ConsumerGroup(group+"-"+t.name), kgo.ConsumeTopics(t.name),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	return poll(ctx, client, func(payload []byte) bool {
		take(payload)
		return true
	})
}

func (s *kafkaServer) Replay(ctx context.Context, t topic, take func([]byte) bool) error {
	client, err := s.fetching(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		t.name: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer client.Close()
	return poll(ctx, client, take)
}

// poll until ctx ends or take has enough.
func poll(ctx context.Context, client *kgo.Client, take func([]byte) bool) error {
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		for records := fetches.RecordIter(); !records.Done(); {
			if !take(records.Next().Value) {
				return nil
			}
		}
	}
}
