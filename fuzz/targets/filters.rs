//! The filters of many triggers and events: each dialect says what its definition says, and the index finds exactly the
//! filters that an event passes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pelton_filter::{Expression, Filter, FilterIndex, Matches};
use pelton_fuzz::filters::{AnyEvent, AnyExpression, passes};

fuzz_target!(|input: (Vec<AnyExpression>, Vec<AnyEvent>)| {
    let (expressions, events) = input;
    let expressions: Vec<_> = expressions.into_iter().map(|expression| expression.0).collect();
    let compiled: Vec<_> = expressions
        .iter()
        .filter_map(|expression| Some((expression, Filter::compile(expression).ok()?)))
        .collect();
    let index = FilterIndex::build((0..).zip(compiled.iter().map(|(_, filter)| filter.clone())));
    let whole = Filter::compile_all(&expressions);
    let all = Filter::compile(&Expression::All(expressions.clone()));
    let mut matches = Matches::default();
    for AnyEvent(event) in &events {
        let passed: Vec<u32> = (0..)
            .zip(&compiled)
            .filter(|(_, (expression, filter))| {
                let passed = filter.matches(event);
                assert_eq!(passed, passes(expression, event), "{expression:?} of {event:?}");
                passed
            })
            .map(|(id, _)| id)
            .collect();
        index.matches(event, &mut matches);
        let mut found = matches.ids().to_vec();
        found.sort_unstable();
        assert_eq!(found, passed, "{expressions:?} of {event:?}");
        if let Ok(whole) = &whole {
            assert_eq!(whole.matches(event), passed.len() == expressions.len());
            // An empty list passes everything; an empty `all` is a mistake.
            if let Ok(all) = &all {
                assert_eq!(all.matches(event), whole.matches(event));
            }
        }
    }
});
