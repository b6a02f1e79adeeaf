use super::*;

fn limits() -> GraphLimits {
    GraphLimits {
        requests: 10,
        request_span: Duration::from_secs(60),
        upload_bytes: 100,
        upload_span: Duration::from_secs(60),
        ..GraphLimits::default()
    }
}

#[test]
fn a_window_never_holds_more_in_any_span() {
    let (most, span) = (10, Duration::from_secs(60));
    let mut window = Window::new(most, span);
    let begin = Instant::now();
    let mut taken: Vec<Duration> = Vec::new();
    let mut at = Duration::ZERO;
    // Somebody who always wants more, for ten spans.
    while at < span * 10 {
        match window.take(begin + at, 1) {
            None => taken.push(at),
            Some(wait) => {
                assert!(!wait.is_zero() && wait <= span + span / PARTS);
                at += wait;
            }
        }
    }
    assert!(taken.len() >= 90, "{}", taken.len());
    for (n, first) in taken.iter().enumerate() {
        let within = taken[n..].iter().filter(|t| **t < *first + span).count();
        assert!(within as u64 <= most, "{within} from {first:?}");
    }
}

#[test]
fn more_than_the_whole_is_the_whole() {
    let mut window = Window::new(10, Duration::from_secs(60));
    let now = Instant::now();
    assert_eq!(window.take(now, 1000), None);
    assert!(window.take(now, 1).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_is_closed_for_all_until_it_opens() {
    let budget = Arc::new(Budget::new(&limits(), None));
    let begin = Instant::now();
    budget.close(Duration::from_secs(30));
    budget.close(Duration::from_secs(5));
    assert!(budget.closed_until().is_some());
    let waiting = (0..5).map(|_| {
        let budget = Arc::clone(&budget);
        tokio::spawn(async move {
            let mut patience = Patience::new(Duration::from_secs(60));
            budget.enter(1, 1, &mut patience).await.map(|_| Instant::now())
        })
    });
    for came in futures::future::join_all(waiting.collect::<Vec<_>>()).await {
        let after = came.unwrap().unwrap() - begin;
        assert!(
            after >= Duration::from_secs(30) && after < Duration::from_secs(32),
            "{after:?}"
        );
    }
    assert!(budget.closed_until().is_none());
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_does_not_wait_at_all() {
    let budget = Budget::new(&limits(), None);
    let begin = Instant::now();
    budget.close(Duration::from_secs(300));
    let mut patience = Patience::new(Duration::from_secs(60));
    let told = budget.enter(1, 1, &mut patience).await.err().unwrap();
    assert!(matches!(told.kind, GraphFault::Throttled));
    assert_eq!(told.retry_after, Some(Duration::from_secs(300)));
    assert_eq!(Instant::now(), begin);
    assert_eq!(budget.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_window_wait_for_it() {
    let budget = Budget::new(&limits(), None);
    let mut patience = Patience::new(Duration::from_secs(300));
    let begin = Instant::now();
    for _ in 0..10 {
        budget.enter(1, 1, &mut patience).await.unwrap();
    }
    assert_eq!(Instant::now(), begin);
    budget.enter(1, 1, &mut patience).await.unwrap();
    assert!(Instant::now() - begin >= Duration::from_secs(60));
    assert_eq!((budget.calls(), budget.in_flight()), (11, 0));
}

#[tokio::test(start_paused = true)]
async fn uploads_are_paced() {
    let budget = Budget::new(&limits(), None);
    let begin = Instant::now();
    budget.upload(60).await;
    budget.upload(40).await;
    assert_eq!(Instant::now(), begin);
    budget.upload(1).await;
    assert!(Instant::now() - begin >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_nobody_gives_back_is_not_waited_for_for_ever() {
    let budget = Budget::new(&limits(), None);
    let patience = || Patience::new(Duration::from_secs(60));
    let held = budget.enter(4, 4, &mut patience()).await.unwrap();
    assert_eq!(budget.in_flight(), 4);
    let told = budget.enter(1, 1, &mut patience()).await.err().unwrap();
    assert!(matches!(told.kind, GraphFault::Throttled), "{told}");
    drop(held);
    budget.enter(1, 1, &mut patience()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_app_has_places_of_its_own_over_all_mailboxes() {
    let limits = GraphLimits {
        app_in_flight: Some(2),
        ..limits()
    };
    let app = Arc::new(Places::new(2));
    let (one, two) = (
        Budget::new(&limits, Some(Arc::clone(&app))),
        Budget::new(&limits, Some(app)),
    );
    let patience = || Patience::new(Duration::from_secs(60));
    let held = (
        one.enter(1, 1, &mut patience()).await.unwrap(),
        two.enter(1, 1, &mut patience()).await.unwrap(),
    );
    assert!(one.enter(1, 1, &mut patience()).await.is_err());
    drop(held);
    // A batch takes as many as there are, not more than ever come.
    two.enter(4, 4, &mut patience()).await.unwrap();
}
