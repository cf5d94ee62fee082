//! The macros: `select!` and `select_async!`.
//!
//! # How they work
//! Tokens are munched up to the first `<-`, `=` or `=>` of a case, which tells its kind; what follows is one expression. The cases
//! are gathered in the form `(kind pattern source message condition body)`; then each becomes a variable of its own (hygiene
//! keeps variables of different rounds apart), pinned to the stack, and all together a list of pairs. The results come into
//! variables declared outside the cases' scope, so that a body may use, assign or drop the channels. Those variables have no
//! destructor, so they keep nothing borrowed, and messages, which may be large, are moved into and out of them once.

/// Waits for the first of several things to happen, and does what belongs to it: Go's `select`.
///
/// ```
/// use aqueduct::{channel, select, time};
/// use std::time::Duration;
///
/// let (tx, rx) = channel::bounded(1);
/// let (tx2, rx2) = channel::bounded(1);
/// tx.send(1).unwrap();
/// select! {
///     v = <-rx => assert_eq!(v, Ok(1)),                   // receive: a `Result`
///     _ = <-time::after(Duration::from_secs(60)) => {}    // a timer
///     text = async { std::future::pending::<String>().await } => drop(text), // any future
/// }
/// select! {
///     tx2 <- "message" => {}                              // send
///     default => unreachable!("there is room"),           // nothing could happen at once
/// }
/// # drop(rx2);
/// ```
///
/// # Cases
///
/// | case | happens when | gives |
/// |---|---|---|
/// | `pattern = <-rx => body` | a message can be received, or `rx` is closed and empty | `Result<T, RecvError>` |
/// | `<-rx => body` | the same | nothing |
/// | `tx <- value => body` | the message can be sent; or `tx` is closed, then it is dropped | nothing |
/// | `pattern = tx <- value => body` | the same | `Result<(), SendError<T>>` |
/// | `tx <- from slot => body` | as above; takes the message out of `slot: Option<T>` only if it happens; never with `None` | |
/// | `pattern = future => body` | the future is ready | its output |
/// | `default => body` | no other case can happen at once; it stands last | |
///
/// - `rx` and `tx` may be any expressions, also `Option`s, where `None` never happens (Go's nil channel), and `rx` may be one of
///   [`time::after`](crate::time::after()), [`time::tick`](crate::time::tick), [`time::never`](crate::time::never).
/// - `, if condition` before `=>` switches a case off; its expressions are evaluated all the same.
/// - If several cases can happen, one is chosen at random. With `biased;` in front the first of them is.
/// - Bodies are blocks or expressions and may `break`, `continue`, `return` and use `?`.
/// - `a<-1` is a send; write `a < -1` for the comparison.
/// - Ten cases of any kind, and a dozen of most, are within rustc's recursion limit of 128. For more, raise it at the head of the crate
///   (`#![recursion_limit = "256"]` is enough for two dozen), or use a [`Select`](crate::select::Select), which takes any number.
///
/// # What happens to the others
/// Exactly one case takes effect. Channel, timer and join cases that lose are as if never tried. The message of a plain `tx <- value`
/// that lost is dropped; with `from slot` it is still yours. A future that lost is dropped, with what it consumed; pass `&mut
/// future` to keep it. Both directions of one channel in one `select!` do not meet.
///
/// Nothing is allocated, boxed or spawned.
///
/// # Blocking
/// Suspends the calling coroutine or task, off the workers the thread. In async code use
/// [`select_async!`](crate::select_async!): this one works there too, but suspends the whole task, with everything that is concurrent
/// only within it.
///
/// # Cancel safety
/// A cancelled task unwinds here only if no case has happened: *nothing happened*, futures are dropped.
#[macro_export]
macro_rules! select {
    ($(biased;)?) => { ::core::compile_error!("`select!` needs at least one case: it would wait for ever") };
    (biased; $($cases:tt)+) => { $crate::__select_parse!([sync true] [] [] $($cases)+) };
    ($($cases:tt)+) => { $crate::__select_parse!([sync false] [] [] $($cases)+) };
}

/// [`select!`](crate::select!) for async code: the same cases, awaited.
///
/// # Cancel safety
/// When the surrounding future is dropped, *nothing happened*, but for a send case whose message was taken already.
///
/// # Examples
/// ```
/// use aqueduct::{channel, select_async, spawn};
///
/// let (tx, rx) = channel::unbounded();
/// let task = spawn(async move {
///     let mut sum = 0;
///     loop {
///         select_async! {
///             v = <-rx => match v {
///                 Ok(v) => sum += v,
///                 Err(_) => break sum,
///             }
///         }
///     }
/// });
/// tx.send(3).unwrap();
/// tx.send(4).unwrap();
/// drop(tx);
/// assert_eq!(task.join().unwrap(), 7);
/// ```
#[macro_export]
macro_rules! select_async {
    ($(biased;)?) => { ::core::compile_error!("`select_async!` needs at least one case: it would wait for ever") };
    (biased; $($cases:tt)+) => { $crate::__select_parse!([async true] [] [] $($cases)+) };
    ($($cases:tt)+) => { $crate::__select_parse!([async false] [] [] $($cases)+) };
}

/// Gathers the cases. `[how] [gathered] [tokens of the case so far] rest`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_parse {
    // The end.
    ($how:tt [$($done:tt)*] []) => { $crate::__select_expand!($how [$($done)*] [none]) };
    ($how:tt [$($done:tt)*] [] default => $body:block $(,)?) => {
        $crate::__select_expand!($how [$($done)*] [default $body])
    };
    ($how:tt [$($done:tt)*] [] default => $body:expr $(,)?) => {
        $crate::__select_expand!($how [$($done)*] [default { $body }])
    };
    ($how:tt $done:tt [] default => $($rest:tt)*) => {
        ::core::compile_error!("`default` must be the last case of a select")
    };

    ($how:tt $done:tt [] default, if $($rest:tt)*) => {
        ::core::compile_error!("`default` takes no `if`: it is chosen when no other case can happen")
    };

    // A receive: `<- rx`, or `pattern = <- rx`.
    ($how:tt $done:tt [$($p:tt)*] <- $($rest:tt)*) => {
        $crate::__select_arrow!($how $done [$($p)*] $($rest)*)
    };
    ($how:tt $done:tt [] = $($rest:tt)*) => {
        ::core::compile_error!("a select case needs a pattern before `=`; to ignore the result write `_ = ...`")
    };
    ($how:tt $done:tt [$($p:tt)+] = <- $($rest:tt)*) => {
        $crate::__select_body!($how $done [recv [$($p)+]] $($rest)*)
    };
    ($how:tt $done:tt [$($p:tt)+] = $($rest:tt)*) => {
        $crate::__select_value!($how $done [$($p)+] [] $($rest)*)
    };
    ($how:tt $done:tt [$($p:tt)*] => $($rest:tt)*) => {
        ::core::compile_error!(concat!(
            "a select case is `pattern = <-rx`, `tx <- value`, `pattern = future` or `default`; found `",
            stringify!($($p)*), " =>`"
        ))
    };
    ($how:tt $done:tt [$($p:tt)*] $next:tt $($rest:tt)*) => {
        $crate::__select_parse!($how $done [$($p)* $next] $($rest)*)
    };
    ($how:tt $done:tt [$($p:tt)+]) => {
        ::core::compile_error!(concat!("a select case needs `=> body`; found `", stringify!($($p)+), "`"))
    };
}

/// `[..] <- ...` without a pattern: a receive when nothing stands before the arrow, else a send.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_arrow {
    ($how:tt $done:tt [] $($rest:tt)*) => { $crate::__select_body!($how $done [recv [_]] $($rest)*) };
    ($how:tt $done:tt [$($tx:tt)+] from $slot:expr $(, if $cond:expr)? => $($rest:tt)*) => {
        $crate::__select_body!($how $done [send_from [_] [$($tx)+]] $slot $(, if $cond)? => $($rest)*)
    };
    ($how:tt $done:tt [$($tx:tt)+] $($rest:tt)*) => {
        $crate::__select_body!($how $done [send [_] [$($tx)+]] $($rest)*)
    };
}

/// After `pattern =`: a future up to `=>`, or a send up to `<-`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_value {
    ($how:tt $done:tt $p:tt [] <- $($rest:tt)*) => { $crate::__select_body!($how $done [recv $p] $($rest)*) };
    ($how:tt $done:tt $p:tt [$($e:tt)+] <- from $slot:expr $(, if $cond:expr)? => $($rest:tt)*) => {
        $crate::__select_body!($how $done [send_from $p [$($e)+]] $slot $(, if $cond)? => $($rest)*)
    };
    ($how:tt $done:tt $p:tt [$($e:tt)+] <- $($rest:tt)*) => {
        $crate::__select_body!($how $done [send $p [$($e)+]] $($rest)*)
    };
    ($how:tt $done:tt $p:tt [$($e:tt)+] , if $($rest:tt)*) => {
        $crate::__select_body!($how $done [future $p] ($($e)+) , if $($rest)*)
    };
    ($how:tt $done:tt $p:tt [$($e:tt)+] => $($rest:tt)*) => {
        $crate::__select_body!($how $done [future $p] ($($e)+) => $($rest)*)
    };
    ($how:tt $done:tt $p:tt [$($e:tt)*] $next:tt $($rest:tt)*) => {
        $crate::__select_value!($how $done $p [$($e)* $next] $($rest)*)
    };
    ($how:tt $done:tt [$($p:tt)+] [$($e:tt)*]) => {
        ::core::compile_error!(concat!(
            "a select case needs `=> body`; found `", stringify!($($p)+), " = ", stringify!($($e)*), "`"
        ))
    };
}

/// The rest of a case: its expression, condition and body.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_body {
    // Mistakes that would end the parsing of an expression or a block, so they are looked for first.
    ($how:tt $done:tt $head:tt => $($rest:tt)*) => {
        ::core::compile_error!("a select case needs an expression between `<-` or `=` and `=>`")
    };
    ($how:tt $done:tt $head:tt $e:ident { $($body:tt)* }) => { $crate::__select_no_arrow!($e) };
    ($how:tt $done:tt $head:tt $e:ident { $($body:tt)* } _ $($rest:tt)*) => { $crate::__select_no_arrow!($e) };
    ($how:tt $done:tt $head:tt $e:ident { $($body:tt)* } $next:ident $($rest:tt)*) => {
        $crate::__select_no_arrow!($e)
    };
    ($how:tt $done:tt $head:tt $e:expr, if => $($rest:tt)*) => {
        ::core::compile_error!(concat!("a select case needs a condition after `if`, in the case of `", stringify!($e), "`"))
    };
    ($how:tt $done:tt $head:tt $e:expr => $(, $($rest:tt)*)?) => {
        ::core::compile_error!(concat!("a select case needs a body after `", stringify!($e), " =>`; it may be `{}`"))
    };
    ($how:tt $done:tt $head:tt $e:expr, if $cond:expr => $(, $($rest:tt)*)?) => {
        ::core::compile_error!(concat!(
            "a select case needs a body after `", stringify!($e), ", if ", stringify!($cond), " =>`; it may be `{}`"
        ))
    };

    ($how:tt $done:tt $head:tt $e:expr => $body:block , $($rest:tt)*) => {
        $crate::__select_done!($how $done $head ($e) (true) $body $($rest)*)
    };
    ($how:tt $done:tt $head:tt $e:expr, if $cond:expr => $body:block , $($rest:tt)*) => {
        $crate::__select_done!($how $done $head ($e) ($cond) $body $($rest)*)
    };
    ($how:tt $done:tt $head:tt $e:expr => $body:block $($rest:tt)*) => {
        $crate::__select_done!($how $done $head ($e) (true) $body $($rest)*)
    };
    ($how:tt $done:tt $head:tt $e:expr, if $cond:expr => $body:block $($rest:tt)*) => {
        $crate::__select_done!($how $done $head ($e) ($cond) $body $($rest)*)
    };
    ($how:tt $done:tt $head:tt $e:expr => $body:expr , $($rest:tt)*) => {
        $crate::__select_done!($how $done $head ($e) (true) { $body } $($rest)*)
    };
    ($how:tt $done:tt $head:tt $e:expr, if $cond:expr => $body:expr , $($rest:tt)*) => {
        $crate::__select_done!($how $done $head ($e) ($cond) { $body } $($rest)*)
    };
    ($how:tt $done:tt $head:tt $e:expr => $body:expr) => {
        $crate::__select_done!($how $done $head ($e) (true) { $body })
    };
    ($how:tt $done:tt $head:tt $e:expr, if $cond:expr => $body:expr) => {
        $crate::__select_done!($how $done $head ($e) ($cond) { $body })
    };

    // What is none of these.
    ($how:tt $done:tt $head:tt $e:expr => $($rest:tt)*) => { $crate::__select_no_comma!($e) };
    ($how:tt $done:tt $head:tt $e:expr, if $cond:expr => $($rest:tt)*) => { $crate::__select_no_comma!($e) };
    ($how:tt $done:tt $head:tt $e:expr $(, $($rest:tt)*)?) => { $crate::__select_no_arrow!($e) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_no_arrow {
    ($e:expr) => {
        ::core::compile_error!(concat!("a select case needs `=> body` after `", stringify!($e), "`"))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_no_comma {
    ($e:expr) => {
        ::core::compile_error!(concat!(
            "a select case needs a `,` after a body that is not a block, in the case of `",
            stringify!($e),
            "`"
        ))
    };
}

/// One case more.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_done {
    ($how:tt [$($done:tt)*] [$($head:tt)*] $e:tt $cond:tt $body:tt $($rest:tt)*) => {
        $crate::__select_parse!($how [$($done)* {[$($head)*] $e $cond $body}] [] $($rest)*)
    };
}

/// Turns the gathered cases into variables, a list, and a match. `[how] [cases] [default] `.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_expand {
    ($how:tt [] [default $body:tt]) => {
        ::core::compile_error!("a select with nothing but `default` chooses nothing: write its body alone")
    };
    ($how:tt [$($cases:tt)+] $default:tt) => {
        $crate::__select_slots!($how $default [$($cases)+] [] [$($cases)+])
    };
}

/// Declares a variable for the result of each case; then come the cases, and the bodies when those have gone.
/// `[how] [default] [cases] [variables] [cases left]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_slots {
    ($how:tt $default:tt $cases:tt [$($slot:ident)*] [$case:tt $($left:tt)*]) => {{
        let mut slot = $crate::select::vacant();
        $crate::__select_slots!($how $default $cases [$($slot)* slot] [$($left)*])
    }};
    ($how:tt $default:tt $cases:tt $slots:tt []) => {{
        let chosen: usize = $crate::__select_setup!($how $default $cases $slots [] []);
        $crate::__select_match!(chosen $default $cases $slots 0usize;)
    }};
}

/// Declares the cases one by one; then chooses. `[how] [default] [cases left] [slots left] [variables] [count]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_setup {
    ($how:tt $default:tt [{[recv $p:tt] ($e:expr) ($cond:expr) $body:tt} $($left:tt)*] [$slot:ident $($slots:ident)*] [$($v:ident)*] [$($n:tt)*]) => {{
        let source = &$e;
        let mut case = ::core::pin::pin!($crate::select::Receive::case(
            if $cond { ::core::option::Option::Some(source) } else { ::core::option::Option::None },
            &mut $slot,
            $crate::__select_committed!($how)
        ));
        $crate::__select_setup!($how $default [$($left)*] [$($slots)*] [$($v)* case] [$($n)* +])
    }};
    ($how:tt $default:tt [{[send $p:tt [$($tx:tt)+]] ($e:expr) ($cond:expr) $body:tt} $($left:tt)*] [$slot:ident $($slots:ident)*] [$($v:ident)*] [$($n:tt)*]) => {{
        let sink = &$($tx)+;
        let mut case = ::core::pin::pin!($crate::select::SendCase::new(
            sink, $e, &mut $slot, $cond, $crate::__select_committed!($how)
        ));
        $crate::__select_setup!($how $default [$($left)*] [$($slots)*] [$($v)* case] [$($n)* +])
    }};
    ($how:tt $default:tt [{[send_from $p:tt [$($tx:tt)+]] ($e:expr) ($cond:expr) $body:tt} $($left:tt)*] [$slot:ident $($slots:ident)*] [$($v:ident)*] [$($n:tt)*]) => {{
        let sink = &$($tx)+;
        let mut case = ::core::pin::pin!($crate::select::SendCase::borrowed(
            sink, &mut $e, &mut $slot, $cond, $crate::__select_committed!($how)
        ));
        $crate::__select_setup!($how $default [$($left)*] [$($slots)*] [$($v)* case] [$($n)* +])
    }};
    ($how:tt $default:tt [{[future $p:tt] ($e:expr) ($cond:expr) $body:tt} $($left:tt)*] [$slot:ident $($slots:ident)*] [$($v:ident)*] [$($n:tt)*]) => {{
        let mut case = ::core::pin::pin!($crate::select::FutureCase::new(
            ::core::future::IntoFuture::into_future($e), &mut $slot, $cond
        ));
        $crate::__select_setup!($how $default [$($left)*] [$($slots)*] [$($v)* case] [$($n)* +])
    }};
    ([$mode:ident $biased:expr] $default:tt [] [] [$($v:ident)+] [$($n:tt)*]) => {
        $crate::__select_run!(
            $mode $default
            $crate::__select_list!($($v)+),
            { 0usize $($n 1usize)* },
            $biased
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_committed {
    ([sync $biased:expr]) => {
        true
    };
    ([async $biased:expr]) => {
        false
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_list {
    () => { () };
    ($v:ident $($rest:ident)*) => { ($v.as_mut(), $crate::__select_list!($($rest)*)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_run {
    (sync [none] $list:expr, $n:block, $biased:expr) => {
        $crate::select::wait::<_, $n>($list, $biased)
    };
    (async [none] $list:expr, $n:block, $biased:expr) => {
        $crate::select::wait_async::<_, $n>($list, $biased).await
    };
    ($mode:ident [default $body:tt] $list:expr, $n:block, $biased:expr) => {
        $crate::select::look::<_, $n>($list, $biased)
    };
}

/// The bodies. `chosen [default] [cases left] [slots left] index`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_match {
    ($chosen:ident [none] [] [] $i:expr;) => {
        ::core::unreachable!("a select without default chooses a case")
    };
    ($chosen:ident [default $body:tt] [] [] $i:expr;) => {
        $body
    };
    ($chosen:ident $default:tt [{[$kind:ident [$($p:tt)+] $($tx:tt)?] $e:tt $cond:tt $body:tt} $($left:tt)*] [$slot:ident $($slots:ident)*] $i:expr;) => {
        if $chosen == $i {
            let $($p)+ = $crate::select::Outcome::take(&mut $slot);
            $body
        } else {
            $crate::__select_match!($chosen $default [$($left)*] [$($slots)*] $i + 1usize;)
        }
    };
}

/// Go's `<-rx` outside a `select!`: `recv!(<-rx)` is `rx.recv()`.
///
/// # Examples
/// ```
/// let (tx, rx) = aqueduct::channel::unbounded();
/// aqueduct::send!(tx <- 5).unwrap();
/// assert_eq!(aqueduct::recv!(<-rx), Ok(5));
/// ```
#[macro_export]
macro_rules! recv {
    (<- $rx:expr) => {
        ($rx).recv()
    };
    ($($other:tt)*) => {
        ::core::compile_error!("write `recv!(<-rx)`")
    };
}

/// Go's `tx <- v` outside a `select!`: `send!(tx <- v)` is `tx.send(v)`. See [`recv!`](crate::recv!).
#[macro_export]
macro_rules! send {
    ($($tokens:tt)*) => {
        $crate::__send!([] $($tokens)*)
    };
}

/// Gathers what stands before the arrow.
#[doc(hidden)]
#[macro_export]
macro_rules! __send {
    ([$($tx:tt)+] <- $message:expr) => {
        ($($tx)+).send($message)
    };
    ([$($tx:tt)*] $next:tt $($rest:tt)+) => {
        $crate::__send!([$($tx)* $next] $($rest)+)
    };
    ($($other:tt)*) => {
        ::core::compile_error!("write `send!(tx <- message)`")
    };
}
