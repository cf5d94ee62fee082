fn main() {
    aqueduct::select! { biased; }
}
