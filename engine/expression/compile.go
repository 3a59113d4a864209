package expression

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// Bounds on what a pipeline file may ask for.
const (
	maxLength = 8 << 10 // bytes of source
	maxNodes  = 1000    // parts of the syntax tree
	maxMemory = 100_000 // elements of lists that one evaluation may make
)

// refused are the functions with which a short rule could ask for endless
// memory or time.
var refused = []string{"reduce", "repeat", "replace", "uniq"}

// program is a compiled expression and what it needs to know of an event.
type program struct {
	source string
	code   *vm.Program
	uses   []string // names, each once
	runs   sync.Pool
}

// compile reads source, which must give a value of the wanted kind:
// reflect.Bool, reflect.String for whatever can be written as text, or
// reflect.Interface for whatever an event can hold.
func compile(source string, want reflect.Kind) (*program, error) {
	source = strings.TrimSpace(source)
	switch {
	case source == "":
		return nil, errors.New("the expression is empty")
	case len(source) > maxLength:
		return nil, fmt.Errorf("the expression is %d bytes long, at most %d are allowed", len(source), maxLength)
	}
	r := &rewriter{}
	u, whole := &uses{}, &top{}
	options := []expr.Option{expr.Env(environment()), r.attach, expr.Patch(r), expr.Patch(whole), expr.Patch(u), expr.MaxNodes(maxNodes)}
	if want == reflect.String {
		u.text = whole
	}
	options = append(options, functions()...)
	if want == reflect.Bool {
		options = append(options, expr.AsBool(), expr.WarnOnAny())
	}
	code, err := expr.Compile(source, options...)
	switch {
	case r.err != nil: // what the rewriter refused is the cause of what came after
		return nil, explain(r.err.Bind(file.NewSource(source)), source)
	case err != nil:
		return nil, explain(err, source)
	case want == reflect.String && !textual(code.Node().Type().Kind()):
		return nil, fmt.Errorf("must give text or a number, but it gives %s", kindOf(code.Node().Type().String()))
	case want == reflect.Interface && !textual(code.Node().Type().Kind()) && code.Node().Type() != reflect.TypeOf(zeroTime):
		return nil, fmt.Errorf("must give text, a number, a boolean or a time, but it gives %s", kindOf(code.Node().Type().String()))
	}
	p := &program{source: source, code: code, uses: u.names}
	p.runs.New = func() any { return newRun(p.uses) }
	return p, nil
}

func textual(k reflect.Kind) bool {
	return k == reflect.String || k == reflect.Int || k == reflect.Float64 || k == reflect.Bool || k == reflect.Interface
}

// environment is the names and their types. A map, because its values can be
// made once and used for every event (see run).
func environment() types.Map {
	names := types.Map{
		"level": types.Int, "offset": types.Int, "time": types.TypeOf(zeroTime),
		"attributes": types.Map{types.Extra: types.Any},
	}
	for name := range texts {
		names[name] = types.String
	}
	return names
}

// explain puts an error of the compiler in our words: one line, with place and
// suggestion.
func explain(err error, source string) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return typeError(err)
	}
	place := fmt.Sprintf("column %d", at.Column+1)
	if strings.Contains(source, "\n") {
		place = fmt.Sprintf("line %d, column %d", at.Line, at.Column+1)
	}
	return fmt.Errorf("%s: %s", place, misread(at.Message))
}

var (
	unexpectedToken = regexp.MustCompile(`^unexpected token (?:(\w+)\("(.*)"\)|EOF)$`)
	mismatchedTypes = regexp.MustCompile(`^invalid operation: (\S+) \(mismatched types (\S+) and (\S+)\)$`)
)

// misread translates what the compiler says. What it says well enough stays.
func misread(text string) string {
	if name, ok := strings.CutPrefix(text, "unknown name "); ok {
		return unknownName(name)
	}
	if m := mismatchedTypes.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s does not go with %s and %s", m[1], kindOf(m[2]), kindOf(m[3]))
	}
	switch m := unexpectedToken.FindStringSubmatch(text); {
	case m == nil:
		return text
	case m[2] == "=":
		return "= says nothing here; to compare, write =="
	case m[2] == "":
		return "the expression ends too early"
	default:
		return fmt.Sprintf("%q is not expected here", m[2])
	}
}

func typeError(err error) error {
	got, ok := strings.CutPrefix(err.Error(), "expected bool, but got ")
	switch {
	case !ok:
		return errors.New(oneLine(err))
	case got == "unknown":
		return errors.New("must give true or false for certain; an attribute can hold anything, so compare it: attributes.x == true")
	default:
		return fmt.Errorf("must give true or false, but it gives %s", kindOf(got))
	}
}

func unknownName(name string) string {
	if slices.Contains(refused, name) {
		return fmt.Sprintf("%q is not available here: it could take endless time or memory", name)
	}
	if name == "$env" {
		return `unknown name "$env"; name the parts of the event that are meant`
	}
	known := fieldNames()
	candidates := append(slices.Clone(known), levelNames()...)
	for _, b := range builtin.Builtins {
		candidates = append(candidates, b.Name)
	}
	if near := nearest(name, candidates); near != "" {
		return fmt.Sprintf("unknown name %q; did you mean %q?", name, near)
	}
	return fmt.Sprintf("unknown name %q; an event has %s", name, strings.Join(known, ", "))
}

func fieldNames() []string {
	var names []string
	for name := range environment() {
		if name != levelName {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// nearest is the candidate that differs least from name, if by little.
func nearest(name string, candidates []string) string {
	best, least := "", len(name)/3+2
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or changed to make a
// into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// oneLine drops the drawing that expr puts below its messages.
func oneLine(err error) string {
	var at *file.Error
	if errors.As(err, &at) {
		return fmt.Sprintf("column %d: %s", at.Column+1, at.Message)
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

// attach lets the rewriter add names while expr compiles.
func (r *rewriter) attach(c *conf.Config) { r.config = c }
