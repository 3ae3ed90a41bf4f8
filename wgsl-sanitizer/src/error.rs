//! What keeps a shader from being interpreted.

/// Why a shader was not interpreted: nothing was found out about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no valid WGSL: naga's message, with file, line and column.
    #[error("{0}")]
    Wgsl(String),
    /// There is no such entry point.
    #[error("no compute entry point `{entry}`: there is {}", listed(.available))]
    Entry {
        /// What was asked for.
        entry: String,
        /// What there is.
        available: Vec<String>,
    },
    /// A value of an `override` constant is missing, unknown, or of no use for its type.
    #[error("constants of `{entry}`: {message}")]
    Constant {
        /// The entry point.
        entry: String,
        /// What is wrong.
        message: String,
    },
    /// Something that the interpreter does not know.
    #[error("{place}: {what} is not supported")]
    Unsupported {
        /// File, line and column.
        place: String,
        /// The construct, as WGSL calls it.
        what: String,
    },
    /// A binding does not fit the shader.
    #[error("@group({group}) @binding({binding}) {name}: {ty}: {message}")]
    Binding {
        /// `@group`.
        group: u32,
        /// `@binding`.
        binding: u32,
        /// Name of the variable.
        name: String,
        /// Its type, as WGSL has it.
        ty: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        _ => names.join(", "),
    }
}
