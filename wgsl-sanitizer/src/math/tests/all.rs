//! Tests that the interpreter handles or refuses every built-in function that naga has.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{Expression, Handle, Module, ScalarKind, TypeInner};

use super::super::{is_by_component, unsupported};
use super::{F, Number, UNWRITTEN, component, composite};

const ALL: &[&str] = &["f32", "f16", "i32", "u32"];
const FLOAT: &[&str] = &["f32", "f16"];
const INTEGER: &[&str] = &["i32", "u32"];
const SINGLE: &[&str] = &["f32"];
const SIGNED: &[&str] = &["i32"];
const UNSIGNED: &[&str] = &["u32"];
const SIGNED_AND_FLOAT: &[&str] = &["f32", "f16", "i32"];

/// The WGSL calls of a function, or the reason why WGSL has none.
enum Line {
    /// The calls, and the number types. In a call, `T` stands for each number type, and `V` stands for `T` and for a
    /// vector of `T`.
    Known(&'static str, &'static [&'static str]),
    /// A call that WGSL does not have, and the reason why it is refused.
    Unsupported(&'static str, &'static str),
}
use Line::{Known, Unsupported};

macro_rules! functions {
    ($($name:ident: $line:expr,)*) => {
        /// The `match` is exhaustive. If naga gets a new function, this does not compile until the function has a line
        /// here.
        fn line(function: F) -> Line {
            match function { $(F::$name => $line),* }
        }
        const FUNCTIONS: &[F] = &[$(F::$name),*];
    };
}

functions! {
    Abs: Known("abs(V)", ALL),
    Min: Known("min(V, V)", ALL),
    Max: Known("max(V, V)", ALL),
    Clamp: Known("clamp(V, V, V)", ALL),
    Saturate: Known("saturate(V)", FLOAT),
    Cos: Known("cos(V)", FLOAT),
    Cosh: Known("cosh(V)", FLOAT),
    Sin: Known("sin(V)", FLOAT),
    Sinh: Known("sinh(V)", FLOAT),
    Tan: Known("tan(V)", FLOAT),
    Tanh: Known("tanh(V)", FLOAT),
    Acos: Known("acos(V)", FLOAT),
    Asin: Known("asin(V)", FLOAT),
    Atan: Known("atan(V)", FLOAT),
    Atan2: Known("atan2(V, V)", FLOAT),
    Asinh: Known("asinh(V)", FLOAT),
    Acosh: Known("acosh(V)", FLOAT),
    Atanh: Known("atanh(V)", FLOAT),
    Radians: Known("radians(V)", FLOAT),
    Degrees: Known("degrees(V)", FLOAT),
    Ceil: Known("ceil(V)", FLOAT),
    Floor: Known("floor(V)", FLOAT),
    Round: Known("round(V)", FLOAT),
    Fract: Known("fract(V)", FLOAT),
    Trunc: Known("trunc(V)", FLOAT),
    Modf: Known("modf(V)", FLOAT),
    Frexp: Known("frexp(V)", FLOAT),
    Ldexp: Known("ldexp(vec2<T>, vec2<i32>)", FLOAT),
    Exp: Known("exp(V)", FLOAT),
    Exp2: Known("exp2(V)", FLOAT),
    Log: Known("log(V)", FLOAT),
    Log2: Known("log2(V)", FLOAT),
    Pow: Known("pow(V, V)", FLOAT),
    Dot: Known("dot(vec4<T>, vec4<T>)", ALL),
    Dot4I8Packed: Known("dot4I8Packed(T, T)", UNSIGNED),
    Dot4U8Packed: Known("dot4U8Packed(T, T)", UNSIGNED),
    Outer: Unsupported("outer(vec2<f32>, vec2<f32>)", "an outer product is of GLSL alone"),
    Cross: Known("cross(vec3<T>, vec3<T>)", FLOAT),
    Distance: Known("distance(V, V)", FLOAT),
    Length: Known("length(V)", FLOAT),
    Normalize: Known("normalize(vec4<T>)", FLOAT),
    FaceForward: Known("faceForward(vec3<T>, vec3<T>, vec3<T>)", FLOAT),
    Reflect: Known("reflect(vec2<T>, vec2<T>)", FLOAT),
    Refract: Known("refract(vec3<T>, vec3<T>, T)", FLOAT),
    Sign: Known("sign(V)", SIGNED_AND_FLOAT),
    Fma: Known("fma(V, V, V)", FLOAT),
    Mix: Known("mix(vec3<T>, vec3<T>, V)", FLOAT),
    Step: Known("step(V, V)", FLOAT),
    SmoothStep: Known("smoothstep(V, V, V)", FLOAT),
    Sqrt: Known("sqrt(V)", FLOAT),
    InverseSqrt: Known("inverseSqrt(V)", FLOAT),
    Inverse: Unsupported("inverse(mat2x2<f32>)", "an inverse of a matrix is of GLSL alone"),
    Transpose: Known("transpose(mat2x4<T>)", FLOAT),
    Determinant: Known("determinant(mat4x4<T>)", FLOAT),
    QuantizeToF16: Known("quantizeToF16(V)", SINGLE),
    CountTrailingZeros: Known("countTrailingZeros(V)", INTEGER),
    CountLeadingZeros: Known("countLeadingZeros(V)", INTEGER),
    CountOneBits: Known("countOneBits(V)", INTEGER),
    ReverseBits: Known("reverseBits(V)", INTEGER),
    ExtractBits: Known("extractBits(V, u32, u32)", INTEGER),
    InsertBits: Known("insertBits(V, V, u32, u32)", INTEGER),
    FirstTrailingBit: Known("firstTrailingBit(V)", INTEGER),
    FirstLeadingBit: Known("firstLeadingBit(V)", INTEGER),
    Pack4x8snorm: Known("pack4x8snorm(vec4<T>)", SINGLE),
    Pack4x8unorm: Known("pack4x8unorm(vec4<T>)", SINGLE),
    Pack2x16snorm: Known("pack2x16snorm(vec2<T>)", SINGLE),
    Pack2x16unorm: Known("pack2x16unorm(vec2<T>)", SINGLE),
    Pack2x16float: Known("pack2x16float(vec2<T>)", SINGLE),
    Pack4xI8: Known("pack4xI8(vec4<T>)", SIGNED),
    Pack4xU8: Known("pack4xU8(vec4<T>)", UNSIGNED),
    Pack4xI8Clamp: Known("pack4xI8Clamp(vec4<T>)", SIGNED),
    Pack4xU8Clamp: Known("pack4xU8Clamp(vec4<T>)", UNSIGNED),
    Unpack4x8snorm: Known("unpack4x8snorm(T)", UNSIGNED),
    Unpack4x8unorm: Known("unpack4x8unorm(T)", UNSIGNED),
    Unpack2x16snorm: Known("unpack2x16snorm(T)", UNSIGNED),
    Unpack2x16unorm: Known("unpack2x16unorm(T)", UNSIGNED),
    Unpack2x16float: Known("unpack2x16float(T)", UNSIGNED),
    Unpack4xI8: Known("unpack4xI8(T)", UNSIGNED),
    Unpack4xU8: Known("unpack4xU8(T)", UNSIGNED),
}

/// Returns the text of a shader with one call of a function. In `call`, each argument is written as its type.
fn source(call: &str, shape: &str, number: &str) -> String {
    let Some((word, types)) = call.trim_end_matches(')').split_once('(') else {
        panic!("no call: {call}");
    };
    let types = types.replace('V', shape).replace('T', number);
    let types: Vec<&str> = types.split(", ").collect();
    let names = ["a", "b", "c", "d"];
    let parameters: Vec<String> = names
        .iter()
        .zip(&types)
        .map(|(name, of)| format!("{name}: {of}"))
        .collect();
    let parameters = parameters.join(", ");
    let names = names[..types.len()].join(", ");
    format!("enable f16; fn caller({parameters}) {{ let result = {word}({names}); }}")
}

/// Returns the number of scalars in a value of a type.
fn count(module: &Module, inner: &TypeInner) -> usize {
    match *inner {
        TypeInner::Scalar(_) => 1,
        TypeInner::Vector { size, .. } => size as usize,
        TypeInner::Matrix { columns, rows, .. } => columns as usize * rows as usize,
        TypeInner::Struct { ref members, .. } => {
            let of = |member: &naga::StructMember| count(module, &module.types[member.ty].inner);
            members.iter().map(of).sum()
        }
        ref other => panic!("{other:?}"),
    }
}

/// Returns the number type of an argument's components.
fn number(inner: &TypeInner) -> Number {
    let scalar = inner.scalar().map(|scalar| (scalar.kind, scalar.width));
    match scalar {
        Some((ScalarKind::Float, 2)) => Number::F16,
        Some((ScalarKind::Float, 4)) => Number::F32,
        Some((ScalarKind::Sint, 4)) => Number::I32,
        Some((ScalarKind::Uint, 4)) => Number::U32,
        other => panic!("{other:?}"),
    }
}

/// Interprets a function, and checks that the interpreter writes every scalar of the result.
fn fills(function: F, call: &str) {
    let module =
        naga::front::wgsl::parse_str(call).unwrap_or_else(|error| panic!("{call}: {error}"));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{call}: {error:?}"));
    let Some((handle, caller)) = module.functions.iter().next() else {
        panic!("no function: {call}");
    };
    let of = |expression: Handle<Expression>| {
        let resolution = &info[handle][expression].ty;
        resolution.inner_with(&module.types)
    };
    let found = caller.expressions.iter().find_map(|(at, expression)| {
        let &Expression::Math {
            fun,
            arg,
            arg1,
            arg2,
            arg3,
        } = expression
        else {
            return None;
        };
        Some((at, fun, [Some(arg), arg1, arg2, arg3]))
    });
    let Some((at, named, arguments)) = found else {
        panic!("no built-in function: {call}");
    };
    assert_eq!(named, function, "{call}");

    let arguments: Vec<_> = arguments.into_iter().flatten().map(of).collect();
    let values: Vec<Vec<u32>> = arguments
        .iter()
        .map(|&inner| match number(inner) {
            Number::F32 | Number::F16 => vec![1.0_f32.to_bits(); count(&module, inner)],
            Number::I32 | Number::U32 => vec![1; count(&module, inner)],
        })
        .collect();
    let mut result = vec![UNWRITTEN; count(&module, of(at))];
    let number = number(arguments[0]);
    if is_by_component(function) {
        for (at, slot) in result.iter_mut().enumerate() {
            let mut operands = [0; 4];
            for (operand, values) in operands.iter_mut().zip(&values) {
                *operand = values[at.min(values.len() - 1)];
            }
            *slot = component(function, number, operands);
        }
    } else {
        let columns = match *arguments[0] {
            TypeInner::Matrix { columns, .. } => columns as usize,
            _ => 1,
        };
        let values: Vec<&[u32]> = values.iter().map(Vec::as_slice).collect();
        composite(function, number, columns, None, &values, &mut result);
    }
    assert!(!result.contains(&UNWRITTEN), "{call}: {result:x?}");
}

#[test]
fn every_function_is_known_or_has_no_word() {
    for &function in FUNCTIONS {
        match line(function) {
            Known(call, numbers) => {
                assert!(!unsupported(function), "{function:?}");
                for number in numbers {
                    for shape in ["T", "vec3<T>"] {
                        fills(function, &source(call, shape, number));
                    }
                }
            }
            Unsupported(call, reason) => {
                assert!(unsupported(function), "{function:?}: {reason}");
                let parsed = naga::front::wgsl::parse_str(&source(call, "", ""));
                let message = parsed.err().map(|error| error.to_string());
                let message = message.unwrap_or_default();
                assert!(
                    message.contains("no definition in scope"),
                    "{call} {message}: {reason}"
                );
            }
        }
    }
}
