package parse

import (
	"regexp/syntax"
	"unicode/utf8"
)

// machine matches a regular expression by trying, in the order in which the
// standard library prefers matches, and finds the same ones. It is several
// times as fast on log lines, because it runs over stretches of one class of
// characters at once and looks at the next character before it goes a way. It
// knows ASCII only and gives up when it has to try too much: the caller then
// asks the standard library, whose time is linear.
type machine struct {
	code  []instruction
	start int
	first *set // what a match can begin with
	begin bool // a match begins at the start of the text
	slots int
}

// set holds ASCII characters.
type set struct {
	bits     [2]uint64
	anything bool // it may also be passed without a character
}

func (s *set) has(c byte) bool { return s.bits[c>>6&1]>>(c&63)&1 != 0 }
func (s *set) add(c byte)      { s.bits[c>>6] |= 1 << (c & 63) }

// leads says whether a way whose first characters s holds can go on at i.
func (s *set) leads(text string, i int) bool { return s.anything || i < len(text) && s.has(text[i]) }

func (s *set) meets(o *set) bool { return s.bits[0]&o.bits[0]|s.bits[1]&o.bits[1] != 0 }

type operation uint8

const (
	opFail operation = iota
	opMatch
	opOne    // a character of class, then out
	opChoice // out is preferred to arg
	opMany   // as many of class as there are, then arg
	opFew    // as few of class as will do, then arg
	opSlot   // the place goes to slot arg, then out
	opEmpty  // the place is one of empty, then out
	opGo     // out
)

type instruction struct {
	op       operation
	alone    bool // of opMany: what follows begins otherwise, so fewer will not do
	empty    syntax.EmptyOp
	out, arg int
	class    *set
	first    *set // what can come at out
	other    *set // what can come at arg
}

// newMachine makes the machine of an expression that regexp has compiled.
func newMachine(expr string) (*machine, error) {
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	m := &machine{code: make([]instruction, len(prog.Inst)), start: prog.Start, slots: prog.NumCap}
	m.begin = prog.StartCond()&syntax.EmptyBeginText != 0
	for pc := range prog.Inst {
		m.code[pc] = translate(&prog.Inst[pc])
	}
	firsts := make([]*set, len(m.code))
	for pc := range m.code {
		firsts[pc] = m.reach(pc)
	}
	m.first = firsts[m.start]
	for pc := range m.code {
		in := &m.code[pc]
		in.first, in.other = firsts[in.out], firsts[0]
		if in.op == opChoice {
			in.other = firsts[in.arg]
			m.fuse(pc)
		}
	}
	return m, nil
}

func translate(inst *syntax.Inst) instruction {
	in := instruction{out: int(inst.Out), arg: int(inst.Arg)}
	switch inst.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		in.op = opChoice
	case syntax.InstCapture:
		in.op = opSlot
	case syntax.InstEmptyWidth:
		in.op, in.empty = opEmpty, syntax.EmptyOp(inst.Arg)
	case syntax.InstMatch:
		in.op, in.out = opMatch, 0
	case syntax.InstFail:
		in.op, in.out = opFail, 0
	case syntax.InstNop:
		in.op = opGo
	default:
		in.op, in.class = opOne, classOf(inst)
	}
	return in
}

func classOf(inst *syntax.Inst) *set {
	s := &set{}
	for c := range byte(utf8.RuneSelf) {
		switch inst.Op {
		case syntax.InstRuneAny:
			s.add(c)
		case syntax.InstRuneAnyNotNL:
			if c != '\n' {
				s.add(c)
			}
		default:
			if inst.MatchRune(rune(c)) {
				s.add(c)
			}
		}
	}
	return s
}

// reach is what can come first at pc.
func (m *machine) reach(pc int) *set {
	s := &set{}
	seen := map[int]bool{}
	todo := []int{pc}
	for len(todo) > 0 {
		pc, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch in := &m.code[pc]; in.op {
		case opOne:
			s.bits[0] |= in.class.bits[0]
			s.bits[1] |= in.class.bits[1]
		case opChoice:
			todo = append(todo, in.out, in.arg)
		case opMatch:
			s.anything = true
		case opFail:
		default:
			todo = append(todo, in.out)
		}
	}
	return s
}

// fuse makes one instruction of a loop over a single class.
func (m *machine) fuse(pc int) {
	in := &m.code[pc]
	switch body, lazy := &m.code[in.out], &m.code[in.arg]; {
	case body.op == opOne && body.out == pc:
		in.op, in.class = opMany, body.class
		in.alone = !in.other.anything && !in.other.meets(body.class)
	case lazy.op == opOne && lazy.out == pc:
		in.op, in.class = opFew, lazy.class
		in.out, in.arg = in.arg, in.out
		in.first, in.other = in.other, in.first
	}
}

// frame is something to go back to.
type frame struct {
	pc   int // -1: put place `at` into slot `end`
	at   int
	end  int // of opMany: the shortest that will do; of opSlot: the slot
	kind operation
}

// memory is what a match needs, used again by the next.
type memory struct {
	slots  []int
	frames []frame
}

// tries bounds how often a match of n characters may choose.
func tries(n int) int { return 2000 + 32*n }

// match finds the first match. sure is false when the machine cannot tell.
func (m *machine) match(text string, mem *memory) (found, sure bool) {
	if !isASCII(text) {
		return false, false
	}
	if cap(mem.slots) < m.slots {
		mem.slots = make([]int, m.slots)
	}
	mem.slots = mem.slots[:m.slots]
	left := tries(len(text))
	for i := 0; i <= len(text); i++ {
		if m.first.leads(text, i) {
			for j := range mem.slots {
				mem.slots[j] = -1
			}
			if found, left = m.try(text, i, mem, left); found || left <= 0 {
				return found, left > 0
			}
		}
		if m.begin {
			break
		}
	}
	return false, true
}

func isASCII(s string) bool {
	const highs = 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		if eight(s)&highs != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// eight is eight bytes as a number: one load.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// try matches from i on, and says how many choices are left; 0: it gave up.
func (m *machine) try(text string, start int, mem *memory, left int) (bool, int) {
	pc, i, frames, slots := m.start, start, mem.frames[:0], mem.slots
	for {
		in := &m.code[pc]
		switch in.op {
		case opMatch:
			slots[0], slots[1] = start, i
			mem.frames = frames
			return true, left
		case opOne:
			if i < len(text) && in.class.has(text[i]) {
				i, pc = i+1, in.out
				continue
			}
		case opGo:
			pc = in.out
			continue
		case opSlot:
			if len(frames) > 0 {
				frames = append(frames, frame{pc: -1, at: slots[in.arg], end: in.arg})
			}
			slots[in.arg], pc = i, in.out
			continue
		case opEmpty:
			if in.empty&^around(text, i) == 0 {
				pc = in.out
				continue
			}
		case opChoice:
			if left--; left <= 0 {
				mem.frames = frames
				return false, 0
			}
			if !in.first.leads(text, i) {
				pc = in.arg
				continue
			}
			if in.other.leads(text, i) {
				frames = append(frames, frame{pc: in.arg, at: i, end: i})
			}
			pc = in.out
			continue
		case opMany:
			end := i
			for end < len(text) && in.class.has(text[end]) {
				end++
			}
			if end > i && !in.alone {
				frames = append(frames, frame{pc: pc, at: end - 1, end: i, kind: opMany})
			}
			if in.other.leads(text, end) {
				i, pc = end, in.arg
				continue
			}
		case opFew:
			frames = append(frames, frame{pc: pc, at: i, kind: opFew})
		}
		// This way ends here: back to the last choice.
		var ok bool
		if frames, pc, i, ok = m.back(text, frames, slots, &left); !ok {
			mem.frames = frames
			return false, left
		}
	}
}

// back goes to the last choice that is left.
func (m *machine) back(text string, frames []frame, slots []int, left *int) (rest []frame, pc, i int, ok bool) {
	for len(frames) > 0 {
		f := &frames[len(frames)-1]
		if f.pc < 0 {
			slots[f.end] = f.at
			frames = frames[:len(frames)-1]
			continue
		}
		if *left--; *left <= 0 {
			return frames, 0, 0, false
		}
		in := &m.code[f.pc]
		switch f.kind {
		case opMany:
			for f.at >= f.end && !in.other.leads(text, f.at) {
				f.at--
			}
			if i = f.at; i < f.end {
				frames = frames[:len(frames)-1]
				continue
			}
			if f.at--; f.at < f.end {
				frames = frames[:len(frames)-1]
			}
			return frames, in.arg, i, true
		case opFew:
			for f.at < len(text) && !in.other.leads(text, f.at) && in.class.has(text[f.at]) {
				f.at++
			}
			if i = f.at; !in.other.leads(text, i) {
				frames = frames[:len(frames)-1]
				continue
			}
			if i < len(text) && in.class.has(text[i]) {
				f.at++
			} else {
				frames = frames[:len(frames)-1]
			}
			return frames, in.arg, i, true
		default:
			pc, i = f.pc, f.at
			return frames[:len(frames)-1], pc, i, true
		}
	}
	return frames, 0, 0, false
}

// around says what the place before text[i] is.
func around(text string, i int) syntax.EmptyOp {
	before, after := rune(-1), rune(-1)
	if i > 0 {
		before = rune(text[i-1])
	}
	if i < len(text) {
		after = rune(text[i])
	}
	return syntax.EmptyOpContext(before, after)
}
