//! Types of codes and scales, bit by bit.

use half::{bf16, f16};

use super::table::table;
use crate::format::SmallFloatTies;
use crate::format::{Element, ScaleStore};
use crate::numeric::{FloatKind, e2m1, e4m3, e5m2, e8m0};

/// A type of codes, scales or weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Float of 4 bits: sign, 2 of exponent, 1 of mantissa.
    E2m1,
    /// Float of 8 bits with 4 of exponent, without infinities.
    E4m3,
    /// Float of 8 bits with 5 of exponent, with infinities.
    E5m2,
    /// A power of two: 8 bits of exponent.
    E8m0,
    /// A whole number of so many bits, two's complement.
    Int(u8),
    /// A float that weights are stored in.
    Float(FloatKind),
}

/// What some bits of a code are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// The sign.
    Sign,
    /// The exponent, with its bias.
    Exponent,
    /// The fraction after the leading one.
    Mantissa,
    /// All of a whole number.
    Integer,
}

impl FieldKind {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Exponent => "exponent",
            Self::Mantissa => "mantissa",
            Self::Integer => "integer",
        }
    }
}

/// Some bits of a code that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// What they are.
    pub kind: FieldKind,
    /// How many.
    pub bits: u8,
    /// What they are as an unsigned number.
    pub value: u32,
}

/// What kind of number a code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Zero.
    Zero,
    /// Smaller than numbers with a leading one: fewer bits of precision.
    Subnormal,
    /// With all the precision of the type.
    Normal,
    /// The largest that the type has, where what is beyond ends as well.
    Largest,
    /// An infinity.
    Infinite,
    /// No number.
    NaN,
}

impl Class {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Subnormal => "subnormal",
            Self::Normal => "normal",
            Self::Largest => "largest",
            Self::Infinite => "infinite",
            Self::NaN => "NaN",
        }
    }
}

impl Codec {
    /// Those that codes and scales are made of, smallest first.
    pub const SMALL: [Self; 6] =
        [Self::E2m1, Self::E4m3, Self::E5m2, Self::E8m0, Self::Int(4), Self::Int(8)];

    /// That of a format's codes.
    pub const fn of_element(element: Element) -> Self {
        match element {
            Element::E2m1(_) => Self::E2m1,
            Element::E4m3 => Self::E4m3,
            Element::Int(bits) => Self::Int(bits),
        }
    }

    /// That of scales of weights of `kind`.
    pub const fn of_store(store: ScaleStore, kind: FloatKind) -> Self {
        match store {
            ScaleStore::F32 => Self::Float(FloatKind::F32),
            ScaleStore::Own => Self::Float(kind),
            ScaleStore::E8m0 => Self::E8m0,
        }
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::E2m1 => "E2M1",
            Self::E4m3 => "E4M3",
            Self::E5m2 => "E5M2",
            Self::E8m0 => "E8M0",
            Self::Int(4) => "INT4",
            Self::Int(_) => "INT8",
            Self::Float(FloatKind::Bf16) => "bf16",
            Self::Float(FloatKind::F16) => "f16",
            Self::Float(FloatKind::F32) => "f32",
        }
    }

    /// Bits of a code.
    pub const fn bits(self) -> u8 {
        match self {
            Self::E2m1 => 4,
            Self::E4m3 | Self::E5m2 | Self::E8m0 => 8,
            Self::Int(bits) => bits,
            Self::Float(kind) => 8 * kind.bytes() as u8,
        }
    }

    /// Bits of exponent and of mantissa; `None` for whole numbers.
    const fn parts(self) -> Option<(u8, u8)> {
        match self {
            Self::E2m1 => Some((2, 1)),
            Self::E4m3 => Some((4, 3)),
            Self::E5m2 => Some((5, 2)),
            Self::Float(FloatKind::F16) => Some((5, 10)),
            Self::E8m0 => Some((8, 0)),
            Self::Float(FloatKind::Bf16) => Some((8, 7)),
            Self::Float(FloatKind::F32) => Some((8, 23)),
            Self::Int(_) => None,
        }
    }

    /// What is added to an exponent; 0 for whole numbers.
    pub const fn bias(self) -> i32 {
        match self {
            Self::E2m1 => 1,
            Self::E4m3 => 7,
            Self::E5m2 => 15,
            Self::E8m0 => e8m0::BIAS,
            Self::Int(_) => 0,
            Self::Float(kind) => kind.exponent_bias(),
        }
    }

    /// Its bits, from the highest, by what they are.
    pub fn fields(self, code: u32) -> Vec<Field> {
        let Some((exponent, mantissa)) = self.parts() else {
            let bits = self.bits();
            return vec![Field { kind: FieldKind::Integer, bits, value: code & mask(bits) }];
        };
        let field =
            |kind, bits: u8, above: u8| Field { kind, bits, value: (code >> above) & mask(bits) };
        let fields = [
            field(FieldKind::Sign, u8::from(self.is_signed()), exponent + mantissa),
            field(FieldKind::Exponent, exponent, mantissa),
            field(FieldKind::Mantissa, mantissa, 0),
        ];
        fields.into_iter().filter(|field| field.bits > 0).collect()
    }

    /// Whether a bit is the sign.
    pub const fn is_signed(self) -> bool {
        !matches!(self, Self::E8m0)
    }

    /// The exact value of a code.
    pub fn value(self, code: u32) -> f32 {
        match self {
            Self::E2m1 => e2m1::decode(code as u8 & 0xF),
            Self::E4m3 => e4m3::decode(code as u8),
            Self::E5m2 => e5m2::decode(code as u8),
            Self::E8m0 if code as u8 == e8m0::NAN_CODE => f32::NAN,
            Self::E8m0 => e8m0::decode(code as u8),
            Self::Int(bits) => {
                let above = 32 - u32::from(bits);
                ((code << above).cast_signed() >> above) as f32
            }
            Self::Float(kind) => kind.widen(code),
        }
    }

    /// The code of a value, as the quantizers here round: to nearest, ties to even, what is beyond the
    /// largest number to that number (E5M2 to infinity, as `to(torch.float8_e5m2)` does; a power of two
    /// downwards, as nothing here rounds to E8M0 in another way).
    pub fn encode(self, value: f32) -> u32 {
        match self {
            Self::E2m1 => Element::E2m1(SmallFloatTies::Even).encode(value).into(),
            Self::E4m3 => e4m3::encode(value).into(),
            Self::E5m2 => e5m2::encode(value).into(),
            Self::E8m0 if value.is_nan() => e8m0::NAN_CODE.into(),
            Self::E8m0 => {
                let exponent = (value.abs().to_bits() >> 23) as i32;
                exponent.clamp(0, i32::from(e8m0::NAN_CODE) - 1).cast_unsigned()
            }
            Self::Int(bits) => u32::from(Element::Int(bits).encode(value)) & mask(bits),
            Self::Float(FloatKind::Bf16) => bf16::from_f32(value).to_bits().into(),
            Self::Float(FloatKind::F16) => f16::from_f32(value).to_bits().into(),
            Self::Float(FloatKind::F32) => value.to_bits(),
        }
    }

    /// What kind of number a code is.
    pub fn class(self, code: u32) -> Class {
        let value = self.value(code);
        if value.is_nan() {
            return Class::NaN;
        }
        if value.is_infinite() {
            return Class::Infinite;
        }
        if value == 0.0 {
            return Class::Zero;
        }
        let is_largest = match self {
            // There is one more below zero.
            Self::Int(_) => value >= self.largest() || value < -self.largest(),
            _ => value.abs() >= self.largest(),
        };
        if is_largest {
            return Class::Largest;
        }
        let exponent = self.fields(code).into_iter().find(|f| f.kind == FieldKind::Exponent);
        match exponent {
            Some(field) if field.value == 0 && self != Self::E8m0 => Class::Subnormal,
            _ => Class::Normal,
        }
    }

    /// The largest number; of whole numbers the largest above zero.
    pub fn largest(self) -> f32 {
        match self {
            Self::E2m1 => e2m1::MAX,
            Self::E4m3 => e4m3::MAX,
            Self::E5m2 => e5m2::MAX,
            Self::E8m0 => e8m0::decode(e8m0::NAN_CODE - 1),
            Self::Int(bits) => (mask(bits) >> 1) as f32,
            Self::Float(kind) => kind.max(),
        }
    }

    /// Every code with its value and what kind of number it is, as CSV; of types of 8 bits or less.
    pub fn csv(self) -> String {
        let digits = usize::from(self.bits());
        let codes = 0..1u32 << self.bits().min(8);
        let line = |code: u32| {
            (code, format!("{code:0digits$b}"), self.value(code), self.class(code).name())
        };
        table(&["code", "bits", "value", "class"], codes.map(line))
    }

    /// How the value of a code follows from its bits: `+1 · 2^(7 − 7) · (1 + 4/8)`.
    pub fn formula(self, code: u32) -> String {
        let fields = self.fields(code);
        let of = |kind| fields.iter().find(|field| field.kind == kind).map_or(0, |f| f.value);
        let (exponent, mantissa) = (of(FieldKind::Exponent), of(FieldKind::Mantissa));
        match (self, self.class(code), self.parts()) {
            (_, Class::NaN, _) => "no number".to_owned(),
            (_, Class::Infinite, _) => "infinity".to_owned(),
            (Self::E8m0, ..) => format!("2^({exponent} − {})", self.bias()),
            (Self::Int(_), ..) | (.., None) => format!("{}", self.value(code)),
            (.., Some((_, bits))) => {
                let sign = if of(FieldKind::Sign) == 1 { '−' } else { '+' };
                let whole = 1u32 << bits;
                let bias = self.bias();
                match exponent {
                    0 => format!("{sign}2^{} · ({mantissa}/{whole})", minus(1 - bias)),
                    _ => format!("{sign}2^({exponent} − {bias}) · (1 + {mantissa}/{whole})"),
                }
            }
        }
    }
}

/// So many ones.
const fn mask(bits: u8) -> u32 {
    if bits >= 32 { u32::MAX } else { (1 << bits) - 1 }
}

/// A whole number with a minus sign that is as wide as a plus.
fn minus(number: i32) -> String {
    number.to_string().replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_put_together_are_the_code_and_its_value() {
        for codec in Codec::SMALL {
            for code in 0..1u32 << codec.bits() {
                let fields = codec.fields(code);
                let together = fields.iter().fold(0, |code, f| (code << f.bits) | f.value);
                assert_eq!(together, code, "{codec:?}");
                let value = codec.value(code);
                if value.is_nan() {
                    assert_eq!(codec.class(code), Class::NaN);
                    continue;
                }
                let again = codec.encode(value);
                // Of the two zeros of a float either will do.
                assert!(again == code || value == 0.0, "{codec:?} {code:#x} {value} {again:#x}");
                let Some((_, mantissa)) = codec.parts() else { continue };
                let of = |kind| {
                    fields
                        .iter()
                        .find(|field| field.kind == kind)
                        .map_or(0.0, |f| f64::from(f.value))
                };
                let fraction = of(FieldKind::Mantissa) / f64::from(1 << mantissa);
                let (exponent, bias) = (of(FieldKind::Exponent), f64::from(codec.bias()));
                let magnitude = match (codec.class(code), codec) {
                    (Class::Infinite, _) => f64::INFINITY,
                    (_, Codec::E8m0) => (exponent - bias).exp2(),
                    _ if exponent == 0.0 => fraction * (1.0 - bias).exp2(),
                    _ => (1.0 + fraction) * (exponent - bias).exp2(),
                };
                assert_eq!(f64::from(value).abs(), magnitude, "{codec:?} {code:#x}");
                assert_eq!(value.is_sign_negative(), of(FieldKind::Sign) == 1.0);
            }
        }
    }

    #[test]
    fn formulas_show_the_fields() {
        assert_eq!(Codec::E4m3.formula(0x7E), "+2^(15 − 7) · (1 + 6/8)");
        assert_eq!(Codec::E4m3.formula(0x81), "−2^−6 · (1/8)");
        assert_eq!(Codec::E2m1.formula(0x9), "−2^0 · (1/2)");
        assert_eq!(Codec::E8m0.formula(120), "2^(120 − 127)");
        assert_eq!(Codec::Int(4).formula(0xF), "-1");
        assert_eq!(Codec::E4m3.formula(0x7F), "no number");
    }

    #[test]
    fn classes_are_where_the_types_end() {
        use Class::{Infinite, Largest, NaN, Normal, Subnormal, Zero};
        let classes = [0x00, 0x01, 0x07, 0x08, 0x7E, 0x7F].map(|code| Codec::E4m3.class(code));
        assert_eq!(classes, [Zero, Subnormal, Subnormal, Normal, Largest, NaN]);
        let classes = [0x7, 0x6, 0x8, 0x9].map(|code| Codec::Int(4).class(code));
        assert_eq!(classes, [Largest, Normal, Largest, Normal]);
        let classes = [0x03, 0x04, 0x7B, 0x7C, 0x7D].map(|code| Codec::E5m2.class(code));
        assert_eq!(classes, [Subnormal, Normal, Largest, Infinite, NaN]);
        assert_eq!([0, 254, 255].map(|code| Codec::E8m0.class(code)), [Normal, Largest, NaN]);
    }
}
