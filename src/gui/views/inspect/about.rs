//! What each view shows, in a few sentences, with its formula and where that is from.

use super::View;

/// What there is to say of a view.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// What it shows.
    pub says: &'static str,
    /// The formula behind it.
    pub formula: &'static str,
    /// Where the arithmetic is from.
    pub source: &'static str,
}

const fn of(says: &'static str, formula: &'static str, source: &'static str) -> Option<About> {
    Some(About { says, formula, source })
}

/// What there is to say of a view; `None` where it speaks for itself.
pub fn about(view: View) -> Option<About> {
    match view {
        View::Microscope => of(
            "One block of weights that share a scale. Each cell is a weight: the number in the checkpoint, \
             its code as it is stored, what the code stands for, and a bar for the error, full at one step. The \
             triangle marks the largest weight, from which the scale of all follows, or with zero points \
             from the smallest and the largest.",
            "value = number of the code × scale (× global scale)",
            "Codes and scales are what the kernels write, bit for bit. E2M1 and E8M0: OCP Microscaling \
             Formats 1.0; E4M3 and E5M2: OCP 8-bit Floating Point 1.0.",
        ),
        View::Ruler => of(
            "The numbers that a block can have, as marks on a line; its weights above, each with an arrow to \
             the mark it becomes. Halfway between two marks is a tie point: there a rule decides, and two \
             tools may differ. Move the sliders to see what another scale or block would do.",
            "marks = numbers of the codes × step; tie points = halfway between marks",
            "Codes are those of the specification in this program, which equals the reference tools.",
        ),
        View::Histogram => of(
            "How the weights are spread, with the numbers that codes can have over it, and how many weights \
             land on each code. A long tail makes steps coarse; codes that nothing lands on are wasted.",
            "one count a weight: in a bin, exactly zero, or not finite",
            "Every weight of the tensor, row or block is counted; nothing is sampled.",
        ),
        View::Scales => of(
            "Every scale of the tensor as a point of a map. Zero, subnormal, saturated and NaN scales are \
             marked: a scale that is NaN makes all of its block NaN, a subnormal one has few bits left.",
            "a point is one block; several blocks in a point show the worst of them",
            "Scale bytes as they are stored. OCP 8-bit Floating Point 1.0 for E4M3.",
        ),
        View::Errors => of(
            "What quantizing does to each weight: orange where it grows, blue where it shrinks, in units of the \
             weight or of the step of its block. Whole numbers are half a step off at most, unless a weight was clipped; the large numbers of a \
             small float lie further apart.",
            "error = value − weight; in steps: error / step of the block",
            "Measured between the source and what the codes stand for, in f64.",
        ),
        View::Outliers => of(
            "The largest weights, and the rows and columns they are in. An outlier sets the scale of its \
             block, so all its neighbours get coarser steps; smaller blocks keep the damage small.",
            "|w| / σ; mean amax of blocks / amax of the tensor",
            "σ is the standard deviation of all weights of the matrix.",
        ),
        View::Regimes => of(
            "The error of each block against how much smaller it is than the largest of the tensor. To the \
             left scales have all their bits; further right they become subnormal, then the smallest there \
             is, and at last weights vanish.",
            "x = global amax / block amax; y = √(Σ error² / Σ weight²)",
            "Points are the blocks of this tensor; the curve is one fixed block, scaled down and quantized by \
             the same code.",
        ),
        View::Compare => of(
            "Two checkpoints weight by weight, or one on two devices. Equal codes under equal scales are \
             equal. A legal tie is a weight exactly halfway: both sides are right. One step off, other \
             scales, and the rest are differences to look into.",
            "legal tie: |w − a| = |w − b| exactly",
            "Codes and scales as they are stored on both sides.",
        ),
        View::Experts => of(
            "Every expert of every layer in one map. An expert that is far from the others of its layer \
             stands out: it may be dead, broken, or in the wrong place.",
            "z = (x − m) / (1.4826 × median |y − m|), m the median of the other experts y",
            "Median absolute deviation as a robust σ: Rousseeuw and Croux, 1993.",
        ),
        View::Formats => of(
            "What each format would do to each projection: signal to noise against stored bits, both \
             measured. Click a cell to make it so. Beside it: the plan as a point, and the best that any mix \
             of formats could do at each size.",
            "SQNR = 10 log₁₀(Σ w² / Σ error²) dB",
            "Quantized by the kernels in the arithmetic of the layout. The frontier is the lower convex hull \
             of size and error, tensor by tensor.",
        ),
        View::Codecs => of(
            "All codes of the small number types, bit by bit: what each is, where the type saturates, where \
             it goes subnormal, and where its numbers end.",
            "value = (−1)^sign · 2^(exponent − bias) · (1 + mantissa)",
            "OCP Microscaling Formats 1.0 and OCP 8-bit Floating Point 1.0.",
        ),
        View::Map | View::Table | View::Profile | View::Lessons | View::Files | View::Export => {
            None
        }
    }
}
