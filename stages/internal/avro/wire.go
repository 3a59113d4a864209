package avro

// The wire: each of these reads one thing from the front of the body, never
// beyond its end.

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.body = ""
}

// take cuts off n bytes.
func (d *decoder) take(n int64) string {
	if n < 0 || n > int64(len(d.body)) {
		if n < 0 {
			d.fail(errLength)
		} else {
			d.fail(errShort)
		}
		return ""
	}
	s := d.body[:n]
	d.body = d.body[n:]
	return s
}

func (d *decoder) str() string { return d.take(d.long()) }

// long reads a zigzag varint.
func (d *decoder) long() int64 {
	if len(d.body) > 0 && d.body[0] < 0x80 { // the usual: one byte
		u := uint64(d.body[0])
		d.body = d.body[1:]
		return int64(u>>1) ^ -int64(u&1)
	}
	return d.longer()
}

func (d *decoder) longer() int64 {
	var u uint64
	for i := 0; i < len(d.body); i++ {
		b := d.body[i]
		if i == 9 && b > 1 {
			d.fail(errVarint)
			return 0
		}
		u |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			d.body = d.body[i+1:]
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	d.fail(errShort)
	return 0
}

func (d *decoder) fixed32() uint32 {
	s := d.take(4)
	if len(s) < 4 {
		return 0
	}
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func (d *decoder) fixed64() uint64 {
	low := d.fixed32()
	return uint64(d.fixed32())<<32 | uint64(low)
}

func (d *decoder) boolean() bool {
	s := d.take(1)
	if s != "" && s[0] > 1 {
		d.fail(errBool)
	}
	return s == "\x01"
}

// symbol reads the number of an enum symbol; -1: there is none.
func (d *decoder) symbol(n *node) int {
	i := d.long()
	if d.err == nil && (i < 0 || i >= int64(len(n.symbols))) {
		d.fail(errSymbol)
	}
	if d.err != nil {
		return -1
	}
	return int(i)
}

// block reads the head of a block of an array or map: how many items follow,
// 0 at the end, and how many bytes they take where the writer says so (else
// -1). Items that take bytes cannot be more than there are bytes.
func (d *decoder) block(emptyItems bool) (items, size int64) {
	items, size = d.long(), -1
	if items < 0 {
		items = -items
		size = d.long()
		if size < 0 || size > int64(len(d.body)) {
			d.fail(errLength)
			return 0, 0
		}
	}
	if items < 0 || !emptyItems && items > int64(len(d.body)) {
		d.fail(errLength)
		return 0, 0
	}
	return items, size
}

// skip passes over a value.
func (d *decoder) skip(n *node, depth int) {
	if depth > maxDepth {
		d.fail(errDepth)
		return
	}
	if n.empty {
		return // also what keeps a pyramid of empty records from costing time
	}
	n = d.settle(n)
	switch n.kind {
	case kindBoolean:
		d.take(1)
	case kindLong, kindEnum:
		d.long()
	case kindFloat:
		d.take(4)
	case kindDouble:
		d.take(8)
	case kindString:
		d.str()
	case kindFixed:
		d.take(int64(n.size))
	case kindArray, kindMap:
		d.skipItems(n, depth)
	case kindRecord:
		for i := range n.fields {
			d.skip(n.fields[i].node, depth+1)
			if d.err != nil {
				return
			}
		}
	}
}

func (d *decoder) skipItems(n *node, depth int) {
	empty := n.kind == kindArray && n.item.empty
	for {
		items, size := d.block(empty)
		if items == 0 || d.err != nil {
			return
		}
		if size >= 0 {
			d.take(size)
			continue
		}
		for i := int64(0); i < items && !empty; i++ {
			if n.kind == kindMap {
				d.str()
			}
			d.skip(n.item, depth+1)
			if d.err != nil {
				return
			}
		}
	}
}
