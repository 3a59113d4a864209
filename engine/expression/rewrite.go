package expression

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"

	"millrace/engine/event"
)

// attributePrefix begins the name under which one attribute is known to the
// compiled code. No name that a user can write contains a dot.
const attributePrefix = "attributes."

// What no user can write either: the name of an event's level, and the function
// that reads one.
const (
	levelName     = "level.name"
	levelFunction = "level.of"
)

// rewriter turns what users write into what evaluates fast: level names into
// numbers, attributes.x into a name of its own, so that no map of all the
// attributes has to be made. It also refuses what could run for ever.
type rewriter struct {
	config *conf.Config
	err    *file.Error // the first thing refused
}

// Visit is called for each node, children first.
func (r *rewriter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		r.name(node, n)
	case *ast.MemberNode:
		if key, ok := n.Property.(*ast.StringNode); ok && isName(n.Node, "attributes") && !n.Method {
			ast.Patch(node, r.attribute(key.Value))
		}
	case *ast.BinaryNode:
		r.binary(node, n)
	case *ast.BuiltinNode:
		if slices.Contains(refused, n.Name) {
			r.refuse(n, "unknown name "+n.Name)
		}
		r.loop(n)
	case *ast.CallNode:
		if isName(n.Callee, "string") && len(n.Arguments) == 1 {
			named(&n.Arguments[0])
		}
	case *ast.VariableDeclaratorNode:
		r.refuse(n, "let is not available here: write the condition out")
	case *ast.PredicateNode:
		inner := &predicates{}
		ast.Walk(&n.Node, inner)
		if inner.found {
			r.refuse(n, "a loop inside a loop is not available here: it could take endless time")
		}
	}
}

func (r *rewriter) name(node *ast.Node, n *ast.IdentifierNode) {
	if n.Value == "$env" {
		r.refuse(n, "unknown name "+n.Value)
		return
	}
	if i := slices.Index(levelNames(), n.Value); i >= 0 {
		ast.Patch(node, &ast.IntegerNode{Value: int(event.LevelTrace) + i})
	}
}

func (r *rewriter) binary(node *ast.Node, n *ast.BinaryNode) {
	if key, ok := n.Left.(*ast.StringNode); ok && n.Operator == "in" && isName(n.Right, "attributes") {
		// An attribute that is there is never nil.
		there := r.attribute(key.Value)
		there.SetLocation(n.Left.Location())
		ast.Patch(node, &ast.BinaryNode{Operator: "!=", Left: there, Right: &ast.NilNode{}})
		return
	}
	if isName(n.Left, "level") {
		r.levelSide(n.Operator, &n.Right)
	}
	if isName(n.Right, "level") && n.Operator != "in" {
		r.levelSide(n.Operator, &n.Left)
	}
}

// levelSide makes a level of what level is compared with.
func (r *rewriter) levelSide(operator string, node *ast.Node) {
	switch operator {
	case "==", "!=", "<", "<=", ">", ">=":
		r.levelText(node)
	case "in":
		_, list := (*node).(*ast.ArrayNode)
		if !list && !isRange(*node) {
			r.refuse(*node, `level can only be looked for in a list that is written out, such as ["WARN", "ERROR"]`)
			return
		}
		r.levelText(node)
	}
}

// levelText replaces the text that level is compared with, or a list of such;
// of what an event decides, the level is read when it is there.
func (r *rewriter) levelText(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.StringNode:
		level, err := event.ParseLevel(n.Value)
		if err != nil {
			r.refuse(n, err.Error())
			return
		}
		ast.Patch(node, &ast.IntegerNode{Value: int(level)})
	case *ast.ArrayNode:
		for i := range n.Nodes {
			r.levelText(&n.Nodes[i])
		}
	case *ast.IntegerNode, *ast.NilNode:
	default:
		if !isRange(n) && !isName(n, "level") {
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: levelFunction}, Arguments: []ast.Node{n}})
		}
	}
}

// named makes the name of a level of level, where text is wanted: in all that a
// node may give.
func named(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value == "level" {
			ast.Patch(node, &ast.IdentifierNode{Value: levelName})
		}
	case *ast.ConditionalNode:
		named(&n.Exp1)
		named(&n.Exp2)
	case *ast.BinaryNode:
		if n.Operator == "??" {
			named(&n.Left)
			named(&n.Right)
		}
	}
}

func (r *rewriter) attribute(key string) ast.Node {
	name := attributePrefix + key
	r.config.Env.Fields[name] = types.Any.Nature()
	return &ast.IdentifierNode{Value: name}
}

func (r *rewriter) refuse(n ast.Node, text string) {
	if r.err == nil {
		r.err = &file.Error{Location: n.Location(), Message: text}
	}
}

func isName(n ast.Node, name string) bool {
	id, ok := n.(*ast.IdentifierNode)
	return ok && id.Value == name
}

// predicates finds out whether there is a loop in a tree.
type predicates struct{ found bool }

func (p *predicates) Visit(node *ast.Node) {
	_, ok := (*node).(*ast.PredicateNode)
	p.found = p.found || ok
}

// top finds the node that gives what the expression gives: the last one.
type top struct{ node *ast.Node }

func (t *top) Visit(node *ast.Node) { t.node = node }

// uses collects the names of events that an expression mentions.
type uses struct {
	names []string
	text  *top // where text is wanted of the whole, until that is done
}

func (u *uses) Visit(node *ast.Node) {
	if u.text != nil {
		named(u.text.node)
		u.text = nil
	}
	n, ok := (*node).(*ast.IdentifierNode)
	if ok && known(n.Value) && !slices.Contains(u.names, n.Value) {
		u.names = append(u.names, n.Value)
	}
}

func known(name string) bool {
	if strings.HasPrefix(name, attributePrefix) {
		return true
	}
	_, ok := environment()[name]
	return ok
}

// levelNames are the constants, in rising order from event.LevelTrace.
func levelNames() []string { return event.Levels() }
