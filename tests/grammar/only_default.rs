fn main() {
    aqueduct::select! {
        default => {}
    }
}
