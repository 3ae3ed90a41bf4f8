//! Plans the backward pass: in which order gradients are computed, and which of them can share memory.

use super::graph::{Graph, Source};
use super::slots::{Slots, Span};

/// Whether a step writes the first contribution to a gradient, or adds a contribution to earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    First,
    Later,
}

/// A step of the backward pass. From the gradient of one value it computes the gradients of the value's operands.
#[derive(Debug, Clone)]
pub(crate) struct BackwardStep {
    /// The value whose gradient is complete.
    pub(crate) value: usize,
    /// For each operand: the value whose gradient this step computes, or `None` if that gradient is not needed. This
    /// value is the operand, or the input of a [`Relu`](crate::ops::Relu) that is fused with this step's layer
    /// ([`Graph::relu_before`]).
    pub(crate) to: Vec<Option<(usize, Arrival)>>,
    /// Whether this step writes the first contribution to the gradients of the layer's parameters. If the layer is used
    /// several times, later steps add theirs.
    pub(crate) parameters: Arrival,
}

/// The gradients that a backward pass must compute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// Whether to compute the gradient with respect to the features.
    pub(crate) input: bool,
    /// For each parameter, whether to compute its gradient.
    pub(crate) parameters: Vec<bool>,
}

impl Wanted {
    /// The gradients with respect to all parameters.
    pub(crate) fn parameters(graph: &Graph) -> Self {
        Self {
            input: false,
            parameters: vec![true; graph.parameters.len()],
        }
    }

    /// For each value, whether its gradient is needed to compute one of the wanted gradients.
    fn values(&self, graph: &Graph) -> Vec<bool> {
        let mut wanted: Vec<bool> = Vec::new();
        for value in &graph.values {
            let of_value = match &value.source {
                Source::Input { .. } => self.input,
                &Source::Layer { layer, x } => {
                    let parameters = graph.uses[layer].parameters.clone();
                    wanted[x] || self.parameters[parameters].contains(&true)
                }
                of => of.operands().iter().any(|&operand| wanted[operand]),
            };
            wanted.push(of_value);
        }
        wanted
    }
}

/// The steps of a backward pass, and the memory of the gradients with respect to values.
#[derive(Debug)]
pub(crate) struct Gradients {
    /// The steps in order, from the last value to the first.
    pub(crate) steps: Vec<BackwardStep>,
    /// Memory of each value's gradient, in elements per row. A gradient that is not read has no memory.
    pub(crate) slots: Slots,
    /// Size of the temporary memory for a contribution that is then added to a gradient, in elements per row.
    pub(crate) arriving: usize,
}

impl Gradients {
    /// Plans the whole backward pass. If `fuses`, the backward pass of a `Relu` is fused with that of the layer after
    /// it where possible ([`Graph::relu_before`]).
    pub(crate) fn new(graph: &Graph, fuses: bool, wanted: &Wanted) -> Self {
        let steps = steps(graph, fuses, &wanted.values(graph));
        Self::with_memory(graph, steps, Some(graph.values.len() - 1))
    }

    /// Plans the backward pass of the layers before a fused head (the last layers, which are computed together).
    /// `first` is the output of the head's first layer. The backward step of this value is the first step of the plan,
    /// but the head itself computes it.
    pub(crate) fn before_head(graph: &Graph, wanted: &Wanted, first: usize) -> Self {
        let mut steps = steps(graph, true, &wanted.values(graph));
        steps.retain(|step| step.value <= first);
        Self::with_memory(graph, steps, None)
    }

    fn with_memory(graph: &Graph, steps: Vec<BackwardStep>, given: Option<usize>) -> Self {
        let (slots, arriving) = memory(graph, &steps, given);
        Self {
            steps,
            slots,
            arriving,
        }
    }

    /// Index of the memory block of a value's gradient. The gradient must have memory.
    #[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
    pub(crate) fn slot(&self, value: usize) -> usize {
        self.slots.of[value].expect("Gradients: a gradient that is read has memory")
    }

    /// Total size of the memory for gradients, in elements per row.
    pub(crate) fn elements(&self) -> usize {
        let sizes = self.slots.sizes.iter();
        sizes.fold(self.arriving, |sum, &size| sum.saturating_add(size))
    }
}

impl Graph {
    /// Indices of the parameters of layers that are used several times. The gradients of all uses are added up.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = usize> {
        (0..self.parameters.len()).filter(|index| {
            let mut uses = self.uses.iter();
            uses.any(|layer_use| layer_use.is_repeated && layer_use.parameters.contains(index))
        })
    }
}

/// Whether the gradient of a sum's operand equals the gradient of the sum, because only the sum reads the operand. Both
/// then share their memory.
pub(crate) fn shares_gradient_of_sum(graph: &Graph, sum: usize, operand: usize) -> bool {
    matches!(graph.values[sum].source, Source::Sum(_)) && graph.values[operand].readers.len() == 1
}

fn steps(graph: &Graph, fuses: bool, is_wanted: &[bool]) -> Vec<BackwardStep> {
    let mut has_arrived = vec![false; graph.values.len()];
    let mut is_filled = vec![false; graph.parameters.len()];
    let mut is_fused = vec![false; graph.values.len()];
    let mut steps = Vec::new();
    for (index, value) in graph.values.iter().enumerate().rev() {
        if !is_wanted[index] || is_fused[index] {
            continue;
        }
        let mut arrive = |operand: usize| {
            let arrival = if std::mem::replace(&mut has_arrived[operand], true) {
                Arrival::Later
            } else {
                Arrival::First
            };
            is_wanted[operand].then_some((operand, arrival))
        };
        let mut parameters = Arrival::First;
        let to = match value.source {
            Source::Layer { layer, x } => {
                let layer_use = &graph.uses[layer];
                if let Some(first) = layer_use.parameters.clone().next()
                    && std::mem::replace(&mut is_filled[first], true)
                {
                    parameters = Arrival::Later;
                }
                match graph.relu_before(layer_use).filter(|_| fuses) {
                    Some(input) => {
                        is_fused[x] = true;
                        vec![arrive(input)]
                    }
                    None => vec![arrive(x)],
                }
            }
            _ => value
                .source
                .operands()
                .iter()
                .map(|&of| arrive(of))
                .collect(),
        };
        steps.push(BackwardStep {
            value: index,
            to,
            parameters,
        });
    }
    steps
}

/// Assigns memory to gradients. A gradient needs its memory from the step that first writes it to the step that reads
/// it. The gradient of the value `given` comes from the loss, so it needs its memory before the first step.
fn memory(graph: &Graph, steps: &[BackwardStep], given: Option<usize>) -> (Slots, usize) {
    let mut spans: Vec<Option<Span>> = vec![None; graph.values.len()];
    // For each value, the value in whose memory its gradient is stored.
    let mut owners: Vec<usize> = (0..graph.values.len()).collect();
    let mut arriving = 0;
    if let Some(value) = given {
        spans[value] = Some(Span { first: 0, last: 0 });
    }
    for (step, time) in steps.iter().zip(1..) {
        let owner = owners[step.value];
        if let Some(span) = &mut spans[owner] {
            span.last = time;
        }
        for &(operand, arrival) in step.to.iter().flatten() {
            let is_layer_or_part = !matches!(graph.values[step.value].source, Source::Sum(_));
            match arrival {
                Arrival::First if shares_gradient_of_sum(graph, step.value, operand) => {
                    owners[operand] = owner;
                }
                Arrival::First => {
                    let first = time;
                    let last = time;
                    spans[operand] = Some(Span { first, last });
                }
                Arrival::Later if is_layer_or_part => {
                    arriving = arriving.max(graph.values[operand].shape.len());
                }
                Arrival::Later => {}
            }
        }
    }
    let values = spans.iter().zip(graph.sizes());
    let values: Vec<_> = values
        .map(|(span, size)| span.map(|span| (span, size)))
        .collect();
    let mut slots = Slots::new(&values);
    for (value, &owner) in owners.iter().enumerate() {
        slots.of[value] = slots.of[owner];
    }
    (slots, arriving)
}
