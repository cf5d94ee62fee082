fn main() {
    let (_tx, rx) = aqueduct::channel::oneshot::channel::<u8>();
    aqueduct::select! {
        v = <-rx => drop(v),
    }
}
