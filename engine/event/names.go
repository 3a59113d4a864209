package event

// indexed is with how many attributes their names are looked up rather than
// looked through.
const indexed = 32

// Names finds the attributes of one event for whoever sets many of them one
// after the other, of names that a stranger chose: with SetAttribute alone the
// time for that grows with the square of their number. The zero Names is ready
// to use, and costs nothing while there are few attributes. Until the last of
// its calls for an event nobody else may change the event's attributes; it is
// for one event and one goroutine.
type Names struct {
	at map[string]int // nil: few enough to look through
}

// Has says whether the event has an attribute of this name.
func (n *Names) Has(e *Event, key string) bool { return n.find(e, key) >= 0 }

// Set is SetAttribute.
func (n *Names) Set(e *Event, key string, value Value) {
	e.own()
	if i := n.find(e, key); i >= 0 {
		e.Attributes[i].Value = value
		return
	}
	if n.at != nil {
		n.at[key] = len(e.Attributes)
	}
	e.Attributes = append(e.Attributes, Attribute{key, value})
}

// Remove is RemoveAttribute. Of many attributes the last takes the place of
// the one that is removed.
func (n *Names) Remove(e *Event, key string) {
	i := n.find(e, key)
	switch {
	case i < 0:
		return
	case n.at == nil:
		e.RemoveAttribute(key)
		return
	}
	e.own()
	last := len(e.Attributes) - 1
	e.Attributes[i] = e.Attributes[last]
	n.at[e.Attributes[i].Key] = i
	delete(n.at, key)
	e.Attributes[last] = Attribute{}
	e.Attributes = e.Attributes[:last]
}

// find is where in the attributes a name is; -1: nowhere.
func (n *Names) find(e *Event, key string) int {
	if n.at == nil && len(e.Attributes) < indexed {
		for i := range e.Attributes {
			if e.Attributes[i].Key == key {
				return i
			}
		}
		return -1
	}
	if n.at == nil {
		n.at = make(map[string]int, 2*indexed)
		for i := range e.Attributes {
			n.at[e.Attributes[i].Key] = i
		}
	}
	if i, ok := n.at[key]; ok {
		return i
	}
	return -1
}
