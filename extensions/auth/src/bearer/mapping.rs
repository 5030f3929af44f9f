//! Who the holder of a token is, by what the token says: zot's `claimMapping`.
//!
//! In: the claims of a token that was right. Out: a user with groups. What goes wrong makes nobody a user: an
//! expression that fails, or says something else than a name, is a token that is not taken.

use orlop_api::access::Subject;

use super::{
    claims::{self, Claims},
    is_name,
};

/// The most groups of one token.
const GROUPS_MAX: usize = 1000;

/// How claims become users. Without expressions, a user is `iss/sub`.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    #[cfg(feature = "conditions")]
    pub expressions: Expressions,
}

/// Expressions over `claims`, and `vars` with the variables so far.
#[cfg(feature = "conditions")]
#[derive(Debug, Clone, Default)]
pub struct Expressions {
    pub variables: Vec<(String, crate::Expression)>,
    /// What has to hold, and what is logged if it does not.
    pub validations: Vec<(crate::Expression, String)>,
    pub username: Option<crate::Expression>,
    pub groups: Option<crate::Expression>,
}

/// The variables of those expressions.
#[cfg(feature = "conditions")]
pub const VARIABLES: [&str; 2] = ["claims", "vars"];

impl Mapping {
    /// Errors: why these claims make nobody a user.
    pub fn subject(&self, claims: &Claims) -> Result<Subject, String> {
        #[cfg(feature = "conditions")]
        let (username, groups) = self.expressions.evaluate(claims)?;
        #[cfg(not(feature = "conditions"))]
        let (username, groups) = (None, Vec::new());
        let name = match username {
            Some(name) => name,
            None => default_name(claims)?,
        };
        match (is_name(&name), groups.len() <= GROUPS_MAX) {
            (true, true) => Ok(Subject::user(&name, groups)),
            (false, _) => Err("the name is empty, too long or has control characters".to_owned()),
            (_, false) => Err(format!("there are {} groups, expected at most {GROUPS_MAX}", groups.len())),
        }
    }
}

fn default_name(claims: &Claims) -> Result<String, String> {
    match (claims::text(claims, "iss"), claims::text(claims, "sub")) {
        (Some(issuer), Some(subject)) => Ok(format!("{issuer}/{subject}")),
        _ => Err("it has no \"iss\" or no \"sub\"".to_owned()),
    }
}

#[cfg(feature = "conditions")]
impl Expressions {
    /// The name and the groups. Errors: what is not as it should be.
    fn evaluate(&self, claims: &Claims) -> Result<(Option<String>, Vec<Box<str>>), String> {
        use cel::Value;

        use crate::expression::{map, of_json};

        let claims = map(claims.iter().map(|(name, value)| (name.as_str(), of_json(value))));
        let mut variables: Vec<(&str, Value)> = Vec::with_capacity(self.variables.len());
        let given =
            |variables: &[(&str, Value)]| [("claims", claims.clone()), ("vars", map(variables.iter().cloned()))];
        for (name, expression) in &self.variables {
            let value =
                expression.evaluate(&given(&variables)).map_err(|error| format!("variable {name:?}: {error}"))?;
            variables.push((name, value));
        }
        let given = given(&variables);
        for (expression, message) in &self.validations {
            match expression.holds(&given) {
                Ok(true) => {}
                Ok(false) => return Err(message.clone()),
                Err(error) => return Err(format!("{message}: {error}")),
            }
        }
        let text = |value: &Value| match value {
            Value::String(text) if is_name(text) => Ok(text.to_string()),
            other => Err(format!("it is {other:?}, expected a name")),
        };
        let username =
            self.username.as_ref().map(|expression| expression.evaluate(&given).and_then(|value| text(&value)));
        let username = username.transpose().map_err(|error| format!("username: {error}"))?;
        let groups = match self.groups.as_ref().map(|expression| expression.evaluate(&given)) {
            None => Vec::new(),
            Some(Ok(Value::List(values))) => {
                let names = values.iter().map(|value| text(value).map(String::into_boxed_str));
                names.collect::<Result<_, _>>().map_err(|error| format!("groups: {error}"))?
            }
            Some(Ok(value)) => vec![text(&value).map_err(|error| format!("groups: {error}"))?.into()],
            Some(Err(error)) => return Err(format!("groups: {error}")),
        };
        Ok((username, groups))
    }
}
