//! Expressions of the operator about a request or a token, in CEL (Common Expression Language).
//!
//! In: a text of the configuration, and later the values of its variables. Out: what it says, or that it says
//! nothing: what goes wrong is an error, and never a panic.
//!
//! An expression is compiled once, on a thread with a large stack, because parsing recurses as deeply as the text
//! nests. What is left is shallow enough for the stack of any thread, and repeats at most over lists in lists: so how
//! long it takes is bounded by what it is given, which is no longer than the head of a request.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    thread,
};

use cel::{
    Context, Env, Program, Value,
    common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, MapExpr, StructExpr},
    objects::{Key, Map},
};
use serde_json::Value as Json;

/// The longest expression in bytes.
const EXPRESSION_BYTES_MAX: usize = 4 << 10;

/// Brackets within brackets in the text.
const BRACKETS_MAX: usize = 16;

/// Operations within operations, once macros are written out. Each takes up to 40 KiB of stack where nothing is
/// optimised; a chain of `&&` or `||` is as deep as the logarithm of its length.
const DEPTH_MAX: usize = 24;

/// Macros over lists (`all`, `exists`, `map`, `filter`) within each other: the steps they take multiply.
const LOOPS_MAX: usize = 2;

/// Names of the language: types, and what functions are called by.
const NAMES: [&str; 15] = [
    "base64",
    "bool",
    "bytes",
    "double",
    "dyn",
    "google",
    "int",
    "list",
    "map",
    "null_type",
    "optional",
    "optional_type",
    "string",
    "type",
    "uint",
];

/// For parsing. Only what is used of it takes memory.
const PARSER_STACK_BYTES: usize = 256 << 20;

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    #[error("it is empty")]
    Empty,
    #[error("it has {0} bytes, expected at most {EXPRESSION_BYTES_MAX}")]
    TooLong(usize),
    #[error("it nests too deeply: brackets up to {BRACKETS_MAX} levels, operations up to {DEPTH_MAX}")]
    TooDeep,
    #[error(
        "it repeats within repetitions within repetitions; expected at most {LOOPS_MAX} of all, exists, map, filter"
    )]
    TooManyLoops,
    #[error("line {line}, column {column}: {reason}")]
    Syntax { line: isize, column: isize, reason: String },
    #[error("it uses {0:?}, which is not known here")]
    Unknown(String),
    #[error("no thread to read it on: {0}")]
    NoThread(String),
}

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    program: Arc<Program>,
}

impl Expression {
    /// `variables` are the names that it may use.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Self, ExpressionError> {
        match text.len() {
            0 => return Err(ExpressionError::Empty),
            1..=EXPRESSION_BYTES_MAX => {}
            bytes => return Err(ExpressionError::TooLong(bytes)),
        }
        if brackets(text) > BRACKETS_MAX {
            return Err(ExpressionError::TooDeep);
        }
        let (owned, known) = (text.to_owned(), variables.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let parser = thread::Builder::new().name("expression".to_owned()).stack_size(PARSER_STACK_BYTES);
        let parsing = parser.spawn(move || parse(&owned, &known));
        let parsing = parsing.map_err(|error| ExpressionError::NoThread(error.to_string()))?;
        // A parser that gives up says no more than that.
        let gave_up = |_| ExpressionError::Syntax { line: 1, column: 1, reason: "it cannot be read".to_owned() };
        let program = parsing.join().map_err(gave_up)??;
        Ok(Expression { text: text.into(), program: Arc::new(program) })
    }

    /// What it says of these variables. Errors: it says nothing of them.
    pub fn evaluate(&self, variables: &[(&str, Value)]) -> Result<Value, String> {
        let mut context = Context::with_env(environment().clone());
        for (name, value) in variables {
            context.add_variable_from_value(*name, value.clone());
        }
        // A mistake in the evaluator is one of this expression, and not the end of the request.
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.program.execute(&context)));
        evaluated.map_err(|_| "it cannot be evaluated".to_owned())?.map_err(|error| error.to_string())
    }

    /// Whether it holds. Errors: it cannot be said, or is neither true nor false.
    pub fn holds(&self, variables: &[(&str, Value)]) -> Result<bool, String> {
        match self.evaluate(variables)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(format!("it is a {}, expected true or false", other.type_of())),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// A value of JSON. Numbers are fractions, as they are in zot, where they come by the same way as in Kubernetes.
pub fn of_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => Value::List(Arc::new(values.iter().map(of_json).collect())),
        Json::Object(entries) => map(entries.iter().map(|(name, value)| (name.as_str(), of_json(value)))),
    }
}

/// An object with these members.
pub fn map<'n>(entries: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    let entries = entries.into_iter().map(|(name, value)| (Key::from(name.to_owned()), value));
    Value::Map(Map { map: Arc::new(entries.collect()) })
}

/// The functions there are: those of the language, and those of its extensions that zot has, too.
fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Env::stdlib();
        for extension in [cel::extensions::strings, cel::extensions::encoders] {
            environment.add_extension(extension).expect("the extensions do not overlap");
        }
        Arc::new(environment)
    })
}

fn parse(text: &str, variables: &[String]) -> Result<Program, ExpressionError> {
    let program = environment().compile(text).map_err(|errors| {
        let first = errors.errors.into_iter().next();
        let (line, column) = first.as_ref().map_or((1, 1), |error| error.pos);
        let reason = first.map_or_else(String::new, |error| error.msg.replace(['\n', '\r'], " "));
        ExpressionError::Syntax { line, column, reason }
    })?;
    Walk { variables, bound: Vec::new(), loops: 0 }.check(program.expression(), 1)?;
    Ok(program)
}

/// Brackets within brackets, those in texts included.
fn brackets(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Looks at every part of an expression: is it shallow enough to be evaluated anywhere, and does it know its names?
struct Walk<'v> {
    variables: &'v [String],
    /// The variables of the macros around the part.
    bound: Vec<&'v str>,
    loops: usize,
}

impl<'v> Walk<'v> {
    fn check(&mut self, expression: &'v IdedExpr, depth: usize) -> Result<(), ExpressionError> {
        if depth > DEPTH_MAX {
            return Err(ExpressionError::TooDeep);
        }
        match &expression.expr {
            Expr::Unspecified => {
                Err(ExpressionError::Syntax { line: 1, column: 1, reason: "a part is missing".to_owned() })
            }
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.known(name),
            Expr::Select(select) => self.check(&select.operand, depth + 1),
            Expr::Call(call) => self.all(call.target.as_deref().into_iter().chain(&call.args), depth),
            Expr::List(list) => self.all(&list.elements, depth),
            Expr::Map(MapExpr { entries }) | Expr::Struct(StructExpr { entries, .. }) => {
                entries.iter().try_for_each(|entry| match &entry.expr {
                    EntryExpr::StructField(field) => self.check(&field.value, depth + 1),
                    EntryExpr::MapEntry(entry) => self.all([&entry.key, &entry.value], depth),
                })
            }
            Expr::Comprehension(comprehension) => self.repeated(comprehension, depth),
        }
    }

    fn all(&mut self, parts: impl IntoIterator<Item = &'v IdedExpr>, depth: usize) -> Result<(), ExpressionError> {
        parts.into_iter().try_for_each(|part| self.check(part, depth + 1))
    }

    fn repeated(&mut self, of: &'v ComprehensionExpr, depth: usize) -> Result<(), ExpressionError> {
        self.all([&of.iter_range, &of.accu_init], depth)?;
        let before = self.bound.len();
        self.bound.extend([of.iter_var.as_str(), of.accu_var.as_str()]);
        self.bound.extend(of.iter_var2.as_deref());
        self.loops += 1;
        let checked = match self.loops > LOOPS_MAX {
            true => Err(ExpressionError::TooManyLoops),
            false => self.all([&of.loop_cond, &of.loop_step, &of.result], depth),
        };
        self.loops -= 1;
        self.bound.truncate(before);
        checked
    }

    fn known(&self, name: &str) -> Result<(), ExpressionError> {
        let plain = name.trim_start_matches('.');
        let is_variable = self.variables.iter().any(|known| known == plain) || self.bound.contains(&name);
        match is_variable || NAMES.contains(&plain) {
            true => Ok(()),
            false => Err(ExpressionError::Unknown(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(text: &str) -> Result<Expression, ExpressionError> {
        Expression::compile(text, &["claims", "vars"])
    }

    fn evaluate(text: &str, claims: &Json) -> Result<Json, String> {
        let expression = compile(text).map_err(|error| error.to_string())?;
        let value = expression.evaluate(&[("claims", of_json(claims)), ("vars", map([]))])?;
        value.json().map_err(|error| error.to_string())
    }

    #[test]
    fn claims_are_looked_at_as_in_zot() {
        let claims = json!({
            "iss": "https://i", "sub": "repo:org/app:ref:refs/heads/main", "n": 42, "ok": true, "none": null,
            "groups": ["a", "b"], "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "builder"}},
        });
        for (text, expected) in [
            ("claims.iss + '/' + claims.sub", json!("https://i/repo:org/app:ref:refs/heads/main")),
            ("claims['kubernetes.io'].serviceaccount.name", json!("builder")),
            ("claims.sub.split(':')[1].lowerAscii()", json!("org/app")),
            ("claims.groups.map(g, 'ci:' + g)", json!(["ci:a", "ci:b"])),
            ("claims.groups.exists(g, g == 'b') && !claims.groups.all(g, g == 'b')", json!(true)),
            ("claims.n == 42 && claims.n > 41.5 && claims.ok && claims.none == null", json!(true)),
            ("has(claims.missing) ? claims.missing : 'other'", json!("other")),
            ("claims[?'missing'].orValue('other') + claims.?groups[?7].orValue('!')", json!("other!")),
            ("claims.sub.matches('^repo:org/[a-z]+:')", json!(true)),
            ("string(base64.decode('aGk='))", json!("hi")),
            ("type(claims.n) == double ? string(claims.n) : ''", json!("42")),
            ("claims.groups.filter(g, g in ['a', 'x']).size()", json!(1)),
        ] {
            assert_eq!(evaluate(text, &claims), Ok(expected), "{text}");
        }
        for text in
            ["claims.missing", "claims.n + 1", "claims.groups[7]", "1 / 0", "claims.sub.n", "'a' > 1", "int('x')"]
        {
            assert!(compile(text).is_ok() && evaluate(text, &claims).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        for (text, part) in [
            ("", "empty"),
            ("claims.", "line 1, column"),
            ("claims.a ==\n== 1", "line 2, column"),
            ("request.user", "\"request\""),
            ("claims.all(x, y)", "\"y\""),
            ("[1].exists(x, true) && x", "\"x\""),
            ("1 +", "line 1"),
            ("'", "line 1"),
            ("\u{0}", "line 1"),
        ] {
            let error = compile(text).expect_err(text).to_string();
            assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
        }
        let long = format!("'{}'", "a".repeat(EXPRESSION_BYTES_MAX));
        assert_eq!(compile(&long).expect_err("too long"), ExpressionError::TooLong(EXPRESSION_BYTES_MAX + 2));
    }

    /// Every way to nest: refused, or evaluated on the stack of a thread of the server.
    #[test]
    fn nothing_nests_deeply_enough_to_matter() {
        let nested = |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
        let mut refused = 0;
        for count in [1, 8, 16, 20, 24, 30, 48, 60, 64, 90, 200, 500, 1300, 2000, 4000] {
            for text in [
                nested("(", ")", count),
                nested("[", "]", count),
                nested("{1:", "}", count),
                nested("!", "", count),
                nested("-", "", count),
                nested("1+", "", count),
                nested("1-", "", count),
                nested("1*", "", count),
                nested("true||", "", count),
                nested("true&&", "", count),
                nested("true?1:", "", count),
                nested("1==", "", count),
                nested("size(", ")", count),
                nested("[1].map(x,", ")", count),
                nested("claims.all(x,", ")", count),
                nested("", ".a", count),
                nested("", "[0]", count),
                nested("", ".a()", count),
                nested("claims[?", "]", count),
            ] {
                match compile(&text) {
                    Ok(expression) => {
                        // Half of what the threads of the server have.
                        let small = thread::Builder::new().stack_size(1 << 20);
                        let evaluating = small.spawn(move || drop(expression.evaluate(&[("claims", map([]))])));
                        evaluating.expect("a thread").join().expect("no panic");
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 100, "only {refused}");
    }

    #[test]
    fn repetitions_do_not_multiply_without_end() {
        assert!(compile("claims.a.all(x, claims.a.all(y, x == y))").is_ok());
        let three = compile("claims.a.all(x, claims.a.all(y, claims.a.all(z, x == y)))");
        assert_eq!(three.expect_err("too many"), ExpressionError::TooManyLoops);
    }

    #[test]
    fn only_true_holds() {
        let holds = |text: &str| compile(text).expect("an expression").holds(&[("claims", map([]))]);
        assert_eq!((holds("1 == 1"), holds("1 == 2")), (Ok(true), Ok(false)));
        for text in ["1", "'true'", "null", "[true]", "claims.a", "claims"] {
            assert!(holds(text).is_err(), "{text}");
        }
    }
}
