//! The pieces that hosts with threads of their own use, in any partition.

use crate::input;
use crate::reference::contract;
use crate::reference::oracle::{Array, assert_same, assert_same_report, same};
use arbitrary::{Result, Unstructured};
use layerwise::{Error, Larc, Outcome, Report, Update, accumulate};

pub fn pieces(u: &mut Unstructured) -> Result<()> {
    let update = input::update(u)?;
    let (len, offsets) = (input::len(u)?, input::offsets(u)?);
    let [w, g, m] = [input::numbers(u, len)?, input::numbers(u, len)?, input::numbers(u, len)?];
    let gradients = Array::new(&g, offsets[1]);

    // With momentum, in pieces, and with another length now and then.
    let (mut weights, mut momentum) = (Array::new(&w, offsets[0]), Array::new(&m, offsets[2]));
    let mut expected: (Vec<f32>, Vec<f32>) = (w.clone(), m.clone());
    let in_range = contract::in_range(&update, true);
    for cut in input::cuts(u, len)?.windows(2) {
        let piece = cut[0]..cut[1];
        let other = cut[0]..cut[0] + input::perhaps_other_len(u, piece.len())?.min(piece.len());
        let (new_w, new_m) = (&mut weights.get_mut()[piece.clone()], &mut momentum.get_mut()[piece.clone()]);
        let result = update.apply_with_momentum(new_w, &gradients.get()[other.clone()], new_m);
        assert_eq!(result.is_ok(), in_range && other == piece, "{result:?}, {update:?}");
        if result.is_ok() {
            for i in piece {
                (expected.0[i], expected.1[i]) = contract::update(&update, w[i], g[i], m[i]);
            }
        }
    }
    assert_same("weight", weights.get(), &expected.0);
    assert_same("momentum", momentum.get(), &expected.1);

    // Without momentum, in pieces.
    let plain_in_range = contract::in_range(&update, false);
    let plain: Vec<f32> = w.iter().zip(&g).map(|(w, g)| contract::plain_update(&update, *w, *g)).collect();
    let plain = if plain_in_range { plain } else { w.clone() };
    let mut weights = Array::new(&w, offsets[0]);
    for cut in input::cuts(u, len)?.windows(2) {
        let (piece, gradients) = (&mut weights.get_mut()[cut[0]..cut[1]], &gradients.get()[cut[0]..cut[1]]);
        assert_eq!(update.apply(piece, gradients).is_ok(), plain_in_range, "{update:?}");
    }
    assert_same("weight", weights.get(), &plain);

    whole(&update, [&w, &g, &m], offsets);
    gradients_in_place(u, [&w, &g, &m], offsets)
}

/// Updates with sums, and the norm of a momentum to be.
fn whole(update: &Update, [w, g, m]: [&[f32]; 3], offsets: [usize; 3]) {
    let (mut weights, mut momentum) = (Array::new(w, offsets[0]), Array::new(m, offsets[2]));
    match update.apply_and_sum(weights.get_mut(), g, momentum.get_mut()) {
        Ok(sum) => assert!(same(sum, contract::sum_of_squares(weights.get()))),
        Err(_) => assert_same("weight", weights.get(), w),
    }
    match update.new_momentum_norm(w, g, m) {
        Ok(norm) => assert!(same(norm, contract::new_momentum_norm(update, w, g, m))),
        Err(error) => assert!(error == Error::Update && !contract::in_range(update, true)),
    }
    assert!(update.apply_and_sum(weights.get_mut(), &[], &mut [0.0]).is_err());
}

/// Accumulation, and LARC in front of a host's optimizer.
fn gradients_in_place(u: &mut Unstructured, [w, g, m]: [&[f32]; 3], offsets: [usize; 3]) -> Result<()> {
    let scale = input::rate(u)?;
    let mut sum = Array::new(m, offsets[2]);
    match accumulate(sum.get_mut(), g, scale) {
        Ok(squares) => {
            let update = Update { gradient: -scale, direct: 1.0, ..Update::NONE };
            let expected: Vec<f32> = m.iter().zip(g).map(|(m, g)| contract::plain_update(&update, *m, *g)).collect();
            assert_same("sum", sum.get(), &expected);
            assert!(same(squares, contract::sum_of_squares(&expected)));
        }
        Err(error) => {
            assert!(error == Error::Update && !(scale as f32).is_finite(), "{scale}");
            assert_same("sum", sum.get(), m);
        }
    }

    let Ok(larc) = Larc::new(input::larc(u)?) else { return Ok(()) };
    let (lr, decay) = (input::rate(u)?, input::rate(u)?);
    let mut scaled = Array::new(g, offsets[1]);
    let result = larc.scale_gradients(lr, decay, w, scaled.get_mut());
    assert_eq!(result.is_ok(), input::non_negative(lr) && input::non_negative(decay), "{lr} {decay}");
    let Ok(report) = result else {
        assert_same("gradient", scaled.get(), g);
        return Ok(());
    };
    let norms = contract::norms(&larc.needs(decay), w, g);
    let weight_norm = norms.weights.unwrap();
    let mut expected = Report { gradient_norm: norms.gradient, weight_norm, effective_rate: lr, ..Report::FROZEN };
    let mut gradients = g.to_vec();
    expected.outcome = Outcome::NonFinite;
    if norms.are_finite() {
        let decision = larc.factor(lr, decay, &norms);
        let update = Update { gradient: decision.factor, decay: decision.factor * decision.decay, ..Update::NONE };
        expected.outcome = Outcome::OutOfRange;
        if contract::in_range(&update, true) {
            (expected.outcome, expected.clipped) = (Outcome::Applied, decision.clipped);
            (expected.factor, expected.effective_rate) = (decision.factor, decision.factor * lr);
            gradients.iter_mut().zip(w).for_each(|(g, w)| *g = contract::rescaled(&update, *w, *g));
        }
    }
    assert_same_report(&report, &expected);
    assert_same("gradient", scaled.get(), &gradients);
    Ok(())
}
