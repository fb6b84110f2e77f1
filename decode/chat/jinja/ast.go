package jinja

// An expr is an expression node; every kind carries the line it begins on.
type expr interface{ lineNumber() int }

type line int

func (l line) lineNumber() int { return int(l) }

type (
	constExpr struct {
		line
		value Value
	}
	nameExpr struct {
		line
		name string
	}
	seqExpr struct { // list or tuple display
		line
		items []expr
		tuple bool
	}
	dictExpr struct {
		line
		keys, values []expr
	}
	condExpr struct { // then if test else otherwise
		line
		test, then, otherwise expr // otherwise may be nil
	}
	logicExpr struct { // and, or
		line
		or          bool
		left, right expr
	}
	notExpr struct {
		line
		operand expr
	}
	compareExpr struct { // a < b <= c
		line
		first expr
		rest  []comparison
	}
	binaryExpr struct {
		line
		op          string
		left, right expr
	}
	unaryExpr struct { // +a, -a
		line
		op      string
		operand expr
	}
	attrExpr struct { // a.name
		line
		object expr
		name   string
	}
	itemExpr struct { // a[key]
		line
		object, key expr
	}
	sliceExpr struct { // the key of a[start:stop:step]; parts may be nil
		line
		start, stop, step expr
	}
	callExpr struct {
		line
		callee expr
		args   callArgs
	}
	filterExpr struct { // operand | name(args); operand is nil in a block's chain
		line
		operand expr
		name    string
		args    callArgs
	}
	testExpr struct { // operand is name(args)
		line
		operand expr
		name    string
		args    callArgs
	}
)

type comparison struct {
	op    string // == != < <= > >= in notin
	right expr
}

type callArgs struct {
	positional []expr
	keywords   []keyword
	star       expr // *args, or nil
	doubleStar expr // **kwargs, or nil
}

type keyword struct {
	name  string
	value expr
}

// A target is what set, for and with assign to: a nameTarget, an attrTarget or a tupleTarget.
type target interface{}

type (
	nameTarget  string
	attrTarget  struct{ namespace, attr string }
	tupleTarget []target
)

// A stmt is a statement node.
type stmt interface{}

type (
	dataStmt   string
	outputStmt struct{ value expr }
	forStmt    struct {
		line
		target    target
		iter      expr
		test      expr // or nil
		recursive bool
		body      []stmt
		otherwise []stmt
	}
	ifStmt struct {
		branches  []branch
		otherwise []stmt
	}
	setStmt struct {
		line
		target target
		value  expr
	}
	setBlockStmt struct {
		line
		target target
		filter expr // or nil
		body   []stmt
	}
	withStmt struct {
		line
		targets []target
		values  []expr
		body    []stmt
	}
	macroStmt struct {
		line
		signature
		name string
		body []stmt
		// usesCaller says whether the body names the caller, the condition under which a call block may call this
		// macro.
		usesCaller bool
	}
	callStmt struct {
		line
		signature
		call *callExpr
		body []stmt
	}
	filterStmt struct {
		line
		filter expr
		body   []stmt
	}
	generationStmt struct{ body []stmt } // transformers' mark around assistant text
	breakStmt      struct{}
	continueStmt   struct{}
)

type branch struct {
	test expr
	body []stmt
}

type signature struct {
	params   []string
	defaults []expr // of the last parameters
}
