package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tail compares a log file on its way into Kafka with the tools that are there
// for it: kcat and rsyslog, those of them that are installed.
func (b *bench) tail() error {
	if err := needs("KAFKA_BROKERS"); err != nil {
		return err
	}
	c, err := newCluster()
	if err != nil {
		return err
	}
	defer c.client.Close()
	lines := or(b.events, 1_000_000)
	file := filepath.Join(b.scratch, "access.log")
	size, err := writeAccessLog(file, lines)
	if err != nil {
		return err
	}
	fmt.Printf("one file of %d lines, %d bytes each; snappy, acks all, linger 5ms; the engine idempotent, the others not; counted at the topic\n",
		lines, size/int64(lines))
	t := &tailing{b, c, file, lines}
	fmt.Println("\nlines as they are")
	raw := []side{t.engineSide("tail-raw.yaml")}
	if installed("kcat") {
		raw = append(raw, side{"kcat", t.kcat})
	}
	if installed("rsyslogd") {
		raw = append(raw, side{"rsyslog", func(round int) (outcome, error) {
			return t.rsyslog(round, "", `template(name="out" type="string" string="%msg%")`)
		}})
	}
	if err := b.alternate("tail raw", raw); err != nil {
		return err
	}
	fmt.Println("\nparsed into fields, as JSON")
	parsed := []side{t.engineSide("tail-parsed.yaml")}
	if installed("rsyslogd") {
		parsed = append(parsed, side{"rsyslog", func(round int) (outcome, error) {
			return t.rsyslog(round, combinedRule, `template(name="out" type="string" string="%$!all-json%")`)
		}})
	}
	if err := b.alternate("tail parsed", parsed); err != nil {
		return err
	}
	fmt.Println("\nto nowhere, the whole process")
	return b.alternate("tail drop", []side{
		t.dropSide("as is", "[]"),
		t.dropSide("apache", "[{parse: {format: apache, on_failure: tag}}]"),
		t.dropSide("grok", `[{parse: {format: grok, pattern: "%{COMBINEDAPACHELOG}", on_failure: tag}}]`),
	})
}

func installed(command string) bool {
	_, err := exec.LookPath(command)
	if err != nil {
		fmt.Printf("%s is not installed: left out\n", command)
	}
	return err == nil
}

// tailing is what the sides have in common.
type tailing struct {
	*bench
	cluster *cluster
	file    string
	lines   int
}

func (t *tailing) engineSide(pipeline string) side {
	return side{"engine", func(round int) (outcome, error) {
		return t.deliver(round, func(topic string) (*process, error) {
			return t.launch(map[string]string{"TOPIC": topic, "LOG_FILE": t.file, "STATE_DIR": filepath.Join(t.scratch, "tail", topic)},
				t.engine, "run", filepath.Join(t.root, "benchmarks/pipelines", pipeline))
		})
	}}
}

func (t *tailing) kcat(round int) (outcome, error) {
	return t.deliver(round, func(topic string) (*process, error) {
		return t.launch(nil, "kcat", "-P", "-b", os.Getenv("KAFKA_BROKERS"), "-t", topic, "-z", "snappy",
			"-X", "acks=all", "-X", "linger.ms=5", "-l", t.file)
	})
}

// combinedRule reads the lines of writeAccessLog, for rsyslog's mmnormalize.
const combinedRule = `version=2
rule=:%client:word% %ident:word% %user:word% [%stamp:char-to:]%] "%method:word% %path:word% %protocol:char-to:"%" %status:number% ` +
	`%bytes:number% "%referer:char-to:"%" "%agent:char-to:"%"
`

// rsyslog follows the file for ever: it is told to end when all lines are there.
func (t *tailing) rsyslog(round int, rule, template string) (outcome, error) {
	return t.deliver(round, func(topic string) (*process, error) {
		dir := filepath.Join(t.scratch, topic)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		normalize := ""
		if rule != "" {
			if err := os.WriteFile(dir+"/rules.rb", []byte(rule), 0o644); err != nil {
				return nil, err
			}
			normalize = fmt.Sprintf("action(type=\"mmnormalize\" rulebase=%q)\n", dir+"/rules.rb")
		}
		conf := fmt.Sprintf(`module(load="imfile")
module(load="omkafka")
module(load="mmnormalize")
global(workDirectory=%q)
%s
input(type="imfile" file=%q tag="access" ruleset="out")
ruleset(name="out" queue.type="linkedlist" queue.size="200000" queue.dequeueBatchSize="4096" queue.workerThreads="2") {
%saction(type="omkafka" broker=[%q] topic=%q template="out" partitions.auto="on"
  confParam=["compression.codec=snappy", "acks=all", "linger.ms=5", "queue.buffering.max.messages=500000"])
}
`, dir, template, t.file, normalize, os.Getenv("KAFKA_BROKERS"), topic)
		if err := os.WriteFile(dir+"/rsyslog.conf", []byte(conf), 0o644); err != nil {
			return nil, err
		}
		p, err := t.launch(nil, "rsyslogd", "-n", "-f", dir+"/rsyslog.conf", "-i", dir+"/pid")
		if err != nil {
			return nil, err
		}
		err = until(t.ctx, p, 50*time.Millisecond, 5*time.Minute, func() (bool, error) {
			n, err := t.cluster.count(t.ctx, topic)
			return err == nil && n >= t.lines, nil // a new topic is not known at once
		})
		p.stop()
		return p, err
	})
}

// deliver runs one side into a topic of its own.
func (t *tailing) deliver(round int, start func(topic string) (*process, error)) (o outcome, err error) {
	topic := fmt.Sprintf("bench-tail-%d-%d", round, time.Now().UnixMilli())
	if err := t.cluster.create(t.ctx, topic); err != nil {
		return o, err
	}
	defer t.cluster.remove(topic)
	before := t.serviceCPU()
	p, err := start(topic)
	if err != nil {
		return o, err
	}
	if o.use, err = p.wait(); err != nil {
		return o, err
	}
	o.services = t.serviceCPU().since(before)
	if o.events, o.seconds, err = t.cluster.arrived(t.ctx, topic); err != nil {
		return o, err
	}
	if o.events != t.lines {
		return o, fmt.Errorf("%d records are in the topic, want %d", o.events, t.lines)
	}
	return o, nil
}

func (t *tailing) dropSide(name, parse string) side {
	return side{name, func(round int) (o outcome, err error) {
		dir := filepath.Join(t.scratch, fmt.Sprintf("drop-%s-%d", strings.ReplaceAll(name, " ", "-"), round))
		report := dir + ".json"
		p, err := t.launch(map[string]string{"LOG_FILE": t.file, "STATE_DIR": dir},
			t.engine, "run", filepath.Join(t.root, "benchmarks/pipelines/tail-drop.yaml"), "--report", report, "--set", "routes.tail.middleware="+parse)
		if err != nil {
			return o, err
		}
		if o.use, err = p.wait(); err != nil {
			return o, err
		}
		if o.events, err = deliveredIn(report); err == nil && o.events != t.lines {
			err = fmt.Errorf("%d lines were read, want %d", o.events, t.lines)
		}
		o.seconds = o.use.wall.Seconds()
		return o, err
	}}
}

// deliveredIn is what the report of a run says its route delivered.
func deliveredIn(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var report struct {
		Routes map[string]struct {
			Delivered int `json:"delivered"`
		} `json:"routes"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return report.Routes["tail"].Delivered, nil
}

// writeAccessLog writes lines as web servers do, in the combined format.
func writeAccessLog(file string, lines int) (size int64, err error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	random := rand.New(rand.NewPCG(1, 2))
	agents := []string{
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36",
		"Mozilla/5.0 (X11; Linux x86_64; rv:27.0) Gecko/20100101 Firefox/27.0", "UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/",
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
	}
	word := func() string { return fmt.Sprintf("%x", random.Uint32()>>8) }
	at := time.Date(2026, 5, 17, 10, 5, 3, 0, time.UTC)
	w := bufio.NewWriterSize(f, 1<<20)
	for range lines {
		at = at.Add(time.Duration(random.IntN(200)) * time.Millisecond)
		path := "/" + strings.Join([]string{"presentations", word(), "images", word()}, "/") + ".png"
		n, err := fmt.Fprintf(w, "%d.%d.%d.%d - - [%s] \"GET %s HTTP/1.1\" %d %d \"http://example.com/presentations/%s/\" \"%s\"\n",
			1+random.IntN(223), random.IntN(256), random.IntN(256), random.IntN(256), at.Format("02/Jan/2006:15:04:05 -0700"), path,
			[]int{200, 200, 200, 304, 404, 500}[random.IntN(6)], random.IntN(250_000), word(), agents[random.IntN(len(agents))])
		if err != nil {
			return 0, err
		}
		size += int64(n)
	}
	return size, w.Flush()
}
