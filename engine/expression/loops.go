package expression

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

// asking are the loops that keep nothing of what their body gives.
var asking = map[string]bool{
	"all": true, "any": true, "none": true, "one": true, "count": true, "filter": true,
	"find": true, "findIndex": true, "findLast": true, "findLastIndex": true,
}

// loop refuses a loop whose body could take the length of a text times the
// length of a list: what multiplies. Texts of the event may only be compared in
// it, unless the list is written out, whose length the file decides and not an
// event; and what it makes anew of each entry may not be longer than that is.
func (r *rewriter) loop(n *ast.BuiltinNode) {
	for _, argument := range n.Arguments {
		p, ok := argument.(*ast.PredicateNode)
		if !ok {
			continue
		}
		_, written := n.Arguments[0].(*ast.ArrayNode)
		b := &body{rewriter: r, free: written && asking[n.Name], overKeys: isKeys(n.Arguments[0]), numbers: isRange(n.Arguments[0])}
		b.look(p.Node)
	}
}

// isKeys says whether a list is keys(attributes), which has each key once.
func isKeys(n ast.Node) bool {
	call, ok := n.(*ast.BuiltinNode)
	return ok && call.Name == "keys" && len(call.Arguments) == 1 && isName(call.Arguments[0], "attributes")
}

// isRange says whether a list is numbers from one to another: 1..9.
func isRange(n ast.Node) bool {
	r, ok := n.(*ast.BinaryNode)
	return ok && r.Operator == ".."
}

// body looks at what is done for each entry of a list.
type body struct {
	*rewriter
	free     bool // texts of the event may be used in any way
	overKeys bool // so may attributes[#]
	numbers  bool // each entry is one
}

func (b *body) look(n ast.Node) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		b.name(n)
	case *ast.BinaryNode:
		b.operator(n)
	case *ast.UnaryNode:
		b.look(n.Node)
	case *ast.ChainNode:
		b.look(n.Node)
	case *ast.MemberNode:
		b.member(n)
	case *ast.SliceNode:
		b.look(n.Node)
		b.bound(n.From)
		b.bound(n.To)
	case *ast.ConditionalNode:
		b.look(n.Cond)
		b.look(n.Exp1)
		b.look(n.Exp2)
	case *ast.BuiltinNode:
		for _, a := range n.Arguments {
			b.look(a)
		}
	case *ast.CallNode:
		b.call(n)
	case *ast.ArrayNode:
		for _, item := range n.Nodes {
			if !constant(item) {
				b.refuse(n, "a list that is made inside a loop can only hold numbers and texts that are written out: it could take endless memory")
				return
			}
		}
	case *ast.MapNode:
		b.refuse(n, "a map cannot be made inside a loop: it could take endless memory")
	}
}

func (b *body) bound(n ast.Node) {
	if n != nil {
		b.look(n)
	}
}

func (b *body) name(n *ast.IdentifierNode) {
	if !b.free && isText(n) {
		b.refuse(n, "inside a loop, "+n.Value+" can only be compared (== != < >): it could take endless time or memory")
	}
}

// isText says whether a name stands for what is as long as the event has it.
func isText(n *ast.IdentifierNode) bool {
	_, text := texts[n.Value]
	return text && n.Value != levelName || n.Value == "attributes" || strings.HasPrefix(n.Value, attributePrefix)
}

// operator lets texts be compared, and everything but them be added.
func (b *body) operator(n *ast.BinaryNode) {
	switch n.Operator {
	case "==", "!=", "<", "<=", ">", ">=", "in":
		b.compared(n.Left)
		b.compared(n.Right)
		return
	case "+":
		if !b.isNumber(n.Left) || !b.isNumber(n.Right) {
			b.refuse(n, "inside a loop, + can only add numbers, such as len(…), int(…) and 5: texts that are put together for each entry could take endless memory")
		}
	}
	b.look(n.Left)
	b.look(n.Right)
}

func (b *body) compared(n ast.Node) {
	if _, ok := n.(*ast.IdentifierNode); !ok {
		b.look(n)
	}
}

func (b *body) member(n *ast.MemberNode) {
	if isName(n.Node, "attributes") && b.overKeys {
		if _, entry := n.Property.(*ast.PointerNode); entry {
			return
		}
	}
	b.look(n.Node)
	b.look(n.Property)
}

func (b *body) call(n *ast.CallNode) {
	if isName(n.Callee, "join") || isName(n.Callee, "toJSON") || isName(n.Callee, "toBase64") {
		b.refuse(n, n.Callee.(*ast.IdentifierNode).Value+" is not available inside a loop: it could take endless memory")
	}
	for _, a := range n.Arguments {
		b.look(a)
	}
}

func constant(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NilNode, *ast.ConstantNode:
		return true
	case *ast.UnaryNode:
		return constant(n.Node)
	}
	return false
}

// isNumber says whether a part gives a number for certain.
func (b *body) isNumber(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return true
	case *ast.PointerNode:
		return n.Name == "index" || n.Name == "" && b.numbers
	case *ast.IdentifierNode:
		return n.Value == "level" || n.Value == "offset"
	case *ast.UnaryNode:
		return n.Operator != "!" && n.Operator != "not"
	case *ast.BinaryNode:
		switch n.Operator {
		case "+":
			return b.isNumber(n.Left) && b.isNumber(n.Right)
		case "-", "*", "/", "%", "**", "^":
			return true
		}
	case *ast.BuiltinNode:
		switch n.Name {
		case "len", "int", "float", "abs", "ceil", "floor", "round", "indexOf", "lastIndexOf":
			return true
		}
	}
	return false
}
